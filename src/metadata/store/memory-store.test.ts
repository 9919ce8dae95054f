import assert from "node:assert/strict";
import { it } from "node:test";
import { DaemonError } from "../../errors/daemon-error.ts";
import { memoryStore } from "./memory-store.ts";
import { storeContract } from "./store.test-suite.ts";

storeContract("memory", (test) => test({ store: memoryStore() }));

it("changes that arrive while a batch is under way share the next", async () => {
	const sizes: number[] = [];
	const store = memoryStore({ beforeCommit: ({ changes }) => void sizes.push(changes.size) });
	const put = (key: string): Promise<void> => store.update((tx) => tx.put(key, 1));
	const first = [put("a"), put("b")];
	await Promise.resolve(); // the first batch leaves at the end of its turn
	const second = [put("c"), put("d"), put("e")];
	await Promise.all([...first, ...second]);
	assert.deepEqual(sizes, [2, 3]);
});

it("a refused batch takes with it what was staged after it, and its keys are written again", async () => {
	const written: [string, unknown][][] = [];
	const problem = new DaemonError("ResourceExhausted", { kind: "store", id: "memory" }, "disk full");
	let full = false;
	const store = memoryStore({
		beforeCommit: ({ changes }) => {
			if (full) throw problem;
			written.push([...changes]);
		},
	});
	await store.update((tx) => tx.put("kept", 1));
	full = true;
	const refused = store.update((tx) => {
		tx.put("kept", 2);
		tx.put("new", 2);
		tx.record({ kind: "event", namespace: "", subject: "/x", body: null });
	});
	await Promise.resolve();
	const later = store.update((tx) => tx.put("later", tx.get("new") ?? null));
	await assert.rejects(refused, { code: "ResourceExhausted" });
	await assert.rejects(later, { code: "ResourceExhausted" });
	assert.deepEqual([...store.entries("")], [["kept", 1]]);
	full = false;
	await store.update((tx) => tx.put("next", tx.get("kept") ?? null));
	assert.deepEqual(written.at(-1), [
		["kept", 1],
		["new", undefined],
		["next", 1],
	]);
	assert.equal(store.journal.last, 0);
});

it("the journal keeps the newest records and says which is the oldest", async () => {
	const store = memoryStore({ journalRecords: 3 });
	for (let i = 1; i <= 5; i++)
		await store.update((tx) => tx.record({ kind: "event", namespace: "", subject: `/${i}`, body: null }));
	assert.equal(store.journal.first, 3);
	const records = await store.journal.read(0, 10);
	assert.deepEqual(
		records.map(({ seq }) => seq),
		[3, 4, 5],
	);
});
