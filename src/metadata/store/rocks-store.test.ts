import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { it, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { DaemonError } from "../../errors/daemon-error.ts";
import { database } from "./database.ts";
import { openRocksStore } from "./rocks-store.ts";
import { storeContract } from "./store.test-suite.ts";
import type { Store } from "./store.ts";

const writer = fileURLToPath(new URL("./store-writer.test-fixture.ts", import.meta.url));

const temporary = async (test: Pick<TestContext, "after">): Promise<string> => {
	const directory = await mkdtemp(join(tmpdir(), "troupe-store-"));
	test.after(() => rm(directory, { recursive: true, force: true }));
	return directory;
};

storeContract("RocksDB", async (test) => {
	const directory = await mkdtemp(join(tmpdir(), "troupe-store-"));
	let store = await openRocksStore({ directory });
	const reopen = async (): Promise<Store> => {
		await store.close();
		store = await openRocksStore({ directory });
		return store;
	};
	try {
		await test({ store, reopen });
	} finally {
		await store.close();
		await rm(directory, { recursive: true });
	}
});

const event = (subject: string) => ({ kind: "event", namespace: "", subject, body: null }) as const;

it("a second daemon on the same root is refused, and the root is named", async (t) => {
	const directory = await temporary(t);
	const store = await openRocksStore({ directory });
	const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", writer, directory], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const exited = once(child, "exit");
	const [line] = (await once(createInterface(child.stdout), "line")) as [string];
	assert.match(line, /^FailedPrecondition .*in use by another daemon/);
	assert.ok(line.includes(directory));
	await exited;
	await assert.rejects(openRocksStore({ directory }), { code: "FailedPrecondition" });
	await store.update((tx) => tx.put("still", "mine"));
	await store.close();
});

it("a store that a newer daemon wrote is refused", async (t) => {
	const directory = await temporary(t);
	await (await openRocksStore({ directory })).close();
	const raw = database(directory);
	await raw.open();
	await raw.batch([{ type: "put", key: "schema", value: "99" }], { sync: true });
	await raw.close();
	await assert.rejects(openRocksStore({ directory }), (error) => {
		assert.ok(error instanceof DaemonError);
		assert.equal(error.code, "FailedPrecondition");
		assert.match(error.message, /schema version 99/);
		return true;
	});
});

it("the journal is trimmed by count and by age, never its newest record, and counts on across restarts", async (t) => {
	const directory = await temporary(t);
	const journal = { maxRecords: 100, maxAgeMs: 3_600_000 };
	const first = await openRocksStore({ directory, journal });
	await first.update((tx) => {
		for (let i = 0; i < 5_000; i++) tx.record(event(`/${i}`));
	});
	await trimmed(first, 4_901);
	await first.close();
	const second = await openRocksStore({ directory, journal });
	assert.equal(second.journal.first, 4_901);
	const [oldest] = await second.journal.read(0, 1);
	assert.equal(oldest?.seq, 4_901);
	await second.close();
	const third = await openRocksStore({ directory, journal: { ...journal, maxAgeMs: -60_000 } }); // all are too old
	await trimmed(third, 5_000);
	await third.update((tx) => tx.record(event("/next")));
	assert.equal(third.journal.last, 5_001);
	await third.close();
});

/** Commits until a trim has been reported; a trim runs between two commits. */
async function trimmed(store: Store, first: number): Promise<void> {
	for (let i = 0; i < 1_000 && store.journal.first < first; i++) await store.update((tx) => tx.put("tick", i));
	assert.equal(store.journal.first, first);
}

it("after SIGKILL at any moment every acknowledged change is there, with its journal record, and none by half", async (t) => {
	for (let round = 0; round < 3; round++) {
		const directory = await temporary(t);
		const atLeast = 1 + Math.floor(Math.random() * 400);
		const acknowledged: number[] = [];
		const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", writer, directory], {
			stdio: ["ignore", "pipe", "inherit"],
		});
		const exited = once(child, "exit");
		for await (const line of createInterface(child.stdout)) {
			acknowledged.push(Number(line));
			if (acknowledged.length === atLeast) child.kill("SIGKILL");
		}
		await exited;
		assert.ok(acknowledged.length >= atLeast);
		const store = await openRocksStore({ directory });
		for (const i of acknowledged)
			assert.equal(store.get(`v1/${i}`), i, `change ${i}, killed after ${atLeast} acknowledgements`);
		const recorded = (await store.journal.read(0, 100_000)).map(({ body }) => body);
		const kept = [...store.entries("v1/")].map(([, value]) => value);
		assert.deepEqual(recorded.sort(), kept.sort());
		await store.close();
	}
});

const strace = spawnSync("strace", ["-V"]).error === undefined;
it("batches reach the disk: each one is synced", { skip: strace ? false : "strace is not installed" }, async (t) => {
	const directory = await temporary(t);
	const syncs = (changes: number): number => {
		const trace = join(directory, `trace-${changes}`);
		const { status } = spawnSync(
			"strace",
			[
				"-f",
				"-e",
				"trace=fsync,fdatasync",
				"-o",
				trace,
				process.execPath,
				"--disable-warning=ExperimentalWarning",
				writer,
			].concat([join(directory, `store-${changes}`), String(changes)]),
			{ stdio: ["ignore", "ignore", "inherit"] },
		);
		assert.equal(status, 0);
		return readFileSync(trace, "utf8").match(/(fsync|fdatasync)(\(| resumed).*= 0/g)?.length ?? 0;
	};
	assert.ok(syncs(200) - syncs(0) >= 50); // at most four changes share a batch
});

const tmpfs = await (async () => {
	const directory = await mkdtemp(join(tmpdir(), "troupe-tmpfs-"));
	const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", directory]).status === 0;
	if (!mounted) await rm(directory, { recursive: true });
	return mounted ? directory : undefined;
})();
it("a full disk is ResourceExhausted; with space again the store goes on", {
	skip: tmpfs ? false : "no tmpfs (root needed)",
}, async (t) => {
	assert.ok(tmpfs);
	const root = tmpfs;
	t.after(async () => {
		spawnSync("umount", [root]);
		await rm(root, { recursive: true });
	});
	const directory = join(root, "store");
	await mkdir(directory);
	let store = await openRocksStore({ directory });
	await store.update((tx) => tx.put("before", 1));
	const noise = (): string => Array.from({ length: 3_000 }, () => Math.random().toString(36)).join("");
	await assert.rejects(
		async () => {
			for (let i = 0; i < 200; i++) await store.update((tx) => tx.put("fill", [tx.get("count") ?? 0, noise()]));
		},
		{ code: "ResourceExhausted" },
	);
	assert.equal(store.get("before"), 1);
	spawnSync("mount", ["-o", "remount,size=64m", root]);
	await store.update((tx) => tx.put("after", 2));
	await store.close();
	store = await openRocksStore({ directory });
	assert.deepEqual([store.get("before"), store.get("after")], [1, 2]);
	await store.close();
});
