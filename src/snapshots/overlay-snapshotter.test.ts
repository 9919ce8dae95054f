import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Mount } from "../sys/mounts.ts";
import { TreePool } from "../workers/tree-pool.ts";
import { extractionTarget } from "./extraction-target.ts";
import { MemoryRecords } from "./memory-records.test-fixture.ts";
import { openOverlaySnapshotter } from "./overlay-snapshotter.ts";
import { refusedWith, snapshotterSuite } from "./snapshotter.test-suite.ts";
import type { Snapshotter } from "./snapshotter.ts";

interface Place {
	readonly root: string;
	readonly records: MemoryRecords;
	readonly trees: TreePool;
	readonly problems: Error[];
	open(): Promise<Snapshotter>;
}

const needsRoot = process.getuid?.() === 0 ? {} : { skip: "SKIPPED: needs root (overlay mounts, owners)" };

/** A root directory and records that outlive the snapshotters opened on them. */
function place(t: { after(action: () => Promise<void>): void }): Place {
	const root = fs.mkdtempSync(join(tmpdir(), "troupe-snapshots-"));
	const records = new MemoryRecords();
	const problems: Error[] = [];
	const trees = new TreePool({ onError: (error) => problems.push(error) });
	const opened: Snapshotter[] = [];
	t.after(async () => {
		for (const snapshotter of opened) await snapshotter.close();
		await trees.close();
		fs.rmSync(root, { recursive: true, force: true });
	});
	const onProblem = (problem: Error) => problems.push(problem);
	const open = async () => {
		const support = { indexOff: true, userxattr: false };
		const snapshotter = await openOverlaySnapshotter({ root, records, trees, onProblem, support });
		opened.push(snapshotter);
		return snapshotter;
	};
	return { root, records, trees, problems, open };
}

snapshotterSuite((t) => place(t).open());

const numbers = (root: string): string[] => fs.readdirSync(join(root, "snapshots")).sort();

async function mounted<T>({ trees, root }: Place, mounts: readonly Mount[], action: (path: string) => T): Promise<T> {
	const target = fs.mkdtempSync(join(root, "mnt-"));
	await trees.mount(mounts, target);
	try {
		return action(target);
	} finally {
		await trees.unmount(target);
		fs.rmdirSync(target);
	}
}

test("mounts have containerd's shapes", async (t) => {
	const { root, open } = place(t);
	const snapshotter = await open();
	const path = (rest: string) => join(root, "snapshots", rest);
	const bind = (source: string, access: string): Mount => ({
		type: "bind",
		source,
		target: "",
		options: [access, "rbind"],
	});
	assert.deepEqual(await snapshotter.prepare("a", ""), [bind(path("1/fs"), "rw")]);
	await snapshotter.commit("one", "a");
	assert.deepEqual(await snapshotter.view("v0", ""), [bind(path("2/fs"), "ro")]);
	assert.deepEqual(await snapshotter.view("v1", "one"), [bind(path("1/fs"), "ro")]);
	const overlay = (...options: string[]): Mount => ({ type: "overlay", source: "overlay", target: "", options });
	assert.deepEqual(await snapshotter.prepare("b", "one"), [
		overlay("index=off", `workdir=${path("4/work")}`, `upperdir=${path("4/fs")}`, `lowerdir=${path("1/fs")}`),
	]);
	await snapshotter.commit("two", "b");
	const lowers = `lowerdir=${path("4/fs")}:${path("1/fs")}`;
	assert.deepEqual(await snapshotter.view("v2", "two"), [overlay("index=off", lowers)]);
	await snapshotter.prepare("c", "two");
	assert.deepEqual(await snapshotter.mounts("c"), [
		overlay("index=off", `workdir=${path("6/work")}`, `upperdir=${path("6/fs")}`, lowers),
	]);
	assert.deepEqual(extractionTarget(await snapshotter.mounts("c")), { targetDir: path("6/fs"), whiteouts: "overlay" });
	assert.throws(() => extractionTarget([bind("/x", "ro")]), /read-only/);
	assert.equal((fs.statSync(path("6/fs")).mode & 0o7777).toString(8), "755");
});

test("what is written in one layer is seen from the next, and measured", needsRoot, async (t) => {
	const here = place(t);
	const snapshotter = await here.open();
	await mounted(here, await snapshotter.prepare("a", ""), (path) => {
		fs.writeFileSync(join(path, "file"), "x".repeat(10_000));
		fs.linkSync(join(path, "file"), join(path, "same"));
		fs.mkdirSync(join(path, "dir"));
	});
	await snapshotter.commit("one", "a");
	const { size, inodes } = await snapshotter.usage("one");
	assert.equal(inodes, 3n, "the root, a directory, a file with two names");
	assert.ok(size >= 10_000n && size < 40_000n, String(size));
	await mounted(here, await snapshotter.prepare("b", "one"), (path) => {
		assert.equal(fs.readFileSync(join(path, "same"), "utf8").length, 10_000);
		fs.rmSync(join(path, "file"));
	});
	await snapshotter.commit("two", "b");
	await mounted(here, await snapshotter.view("v", "two"), (path) => {
		assert.deepEqual(fs.readdirSync(path).sort(), ["dir", "same"]);
		assert.throws(() => fs.writeFileSync(join(path, "new"), ""), { code: "EROFS" });
	});
	assert.deepEqual(here.problems, []);
});

test("a hundred layers can be mounted, whatever the length of their paths", needsRoot, async (t) => {
	const here = place(t);
	const snapshotter = await here.open();
	let parent = "";
	for (let layer = 1; layer <= 100; layer++) {
		await snapshotter.prepare("key", parent);
		fs.writeFileSync(join(here.root, "snapshots", String(layer), "fs", `from-${layer}`), "");
		await snapshotter.commit(`layer ${layer}`, "key", { usage: { size: 0n, inodes: 1n } });
		parent = `layer ${layer}`;
	}
	const mounts = await snapshotter.prepare("top", parent);
	assert.ok((mounts[0]?.options.join(",").length ?? 0) > 4096);
	await mounted(here, mounts, (path) => assert.equal(fs.readdirSync(path).length, 100));
});

test("rebase: the root's owner and directories that were not described come from the parent", needsRoot, async (t) => {
	const { root, open } = place(t);
	const snapshotter = await open();
	const path = (rest: string) => join(root, "snapshots", rest);
	await snapshotter.prepare("a", "");
	fs.chownSync(path("1/fs"), 12, 34);
	fs.mkdirSync(path("1/fs/tmp/deep"), { recursive: true });
	fs.chmodSync(path("1/fs/tmp"), 0o1777);
	fs.chownSync(path("1/fs/tmp/deep"), 56, 78);
	fs.utimesSync(path("1/fs/tmp"), 1000, 2000);
	fs.symlinkSync("tmp", path("1/fs/var"));
	await snapshotter.commit("one", "a");
	await snapshotter.prepare("b", "");
	for (const name of ["tmp/deep", "var", "mine"]) fs.mkdirSync(path(`2/fs/${name}`), { recursive: true });
	fs.writeFileSync(path("2/fs/tmp/deep/file"), "");
	const impliedDirectories = ["tmp", "tmp/deep", "var", "mine"].map((name) => Buffer.from(name));
	await snapshotter.commit("two", "b", { parent: "one", impliedDirectories });
	const { uid, gid } = fs.statSync(path("2/fs"));
	assert.deepEqual([uid, gid], [12, 34]);
	const tmp = fs.statSync(path("2/fs/tmp"));
	assert.equal((tmp.mode & 0o7777).toString(8), "1777");
	assert.equal(tmp.mtimeMs, 2_000_000);
	assert.equal(fs.statSync(path("2/fs/tmp/deep")).uid, 56);
	assert.equal(fs.statSync(path("2/fs/var")).uid, 0);
});

test("removal takes the files away in the background", async (t) => {
	const { root, open } = place(t);
	const snapshotter = await open();
	await snapshotter.prepare("a", "");
	fs.mkdirSync(join(root, "snapshots/1/fs/x/y/z"), { recursive: true });
	await snapshotter.remove("a");
	assert.ok(!numbers(root).includes("1"));
	await snapshotter.cleanup();
	assert.deepEqual(numbers(root), []);
});

test("after a crash: directories without a record are swept, records without a directory reported", async (t) => {
	const { root, open, problems } = place(t);
	const first = await open();
	for (const key of ["kept", "lost", "removed"]) await first.prepare(key, "");
	await first.close();
	fs.mkdirSync(join(root, "snapshots/7/fs"), { recursive: true }); // made, but never recorded
	fs.mkdirSync(join(root, "snapshots/rm-9/fs"), { recursive: true }); // doomed, but not yet deleted
	fs.rmSync(join(root, "snapshots/2"), { recursive: true });
	const second = await open();
	await second.cleanup();
	assert.deepEqual(numbers(root), ["1", "3"]);
	assert.deepEqual(
		problems.map(({ message }) => message),
		['snapshot "lost": its directory 2 is missing'],
	);
	await second.prepare("new", "");
	assert.deepEqual(numbers(root), ["1", "10", "3"], "a number is not used again");
	await second.remove("lost");
});

test("a snapshot that cannot be recorded leaves nothing", async (t) => {
	const { root, records, open } = place(t);
	const snapshotter = await open();
	records.refuse = new Error("disk full");
	await assert.rejects(snapshotter.prepare("a", ""), /disk full/);
	records.refuse = undefined;
	await refusedWith(snapshotter.stat("a"), "NotFound");
	await snapshotter.cleanup();
	assert.deepEqual(numbers(root), []);
});
