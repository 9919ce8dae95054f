import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import type { JournalRecord } from "../../src/metadata/store/store.ts";
import { quiet, rejection, stage } from "./kernel.test-fixture.ts";

const key = "v1/test/probe/a";
const passage = ({ body }: JournalRecord): string => {
	const { from, to } = body as { readonly from: string; readonly to: string };
	return `${from} ${to}`;
};

test("a request's step into a volatile state runs its effects at once and is kept with the next record", async () => {
	const store = memoryStore();
	const { ref, said, system } = await stage({ store });
	const before = store.journal.last;
	const prepared = ref.ask({ type: "prepare" }, { deadlineMs: 10 });
	await quiet();
	assert.deepEqual(said, ["born 0", "preparing"]);
	assert.equal(store.journal.last, before);
	assert.equal((store.get(key) as { value: string }).value, "idle");
	const inspection = system.inspectOne("/a");
	assert.equal(inspection?.node === "actor" && inspection.state, "preparing");
	await ref.tell({ type: "work.done" });
	await prepared;
	assert.deepEqual((await store.journal.read(before, 10)).map(passage), ["idle preparing", "preparing busy"]);
	assert.equal((store.get(key) as { value: string }).value, "busy");
});

test("a fact in a volatile state is acknowledged when it is durable, and the state with it", async () => {
	const store = memoryStore();
	const { ref } = await stage({ store });
	void ref.ask({ type: "prepare" }, { deadlineMs: 10 }).catch(() => undefined);
	await ref.tell({ type: "number.seen", n: 5 });
	const record = store.get(key) as { value: string; context: { n: number } };
	assert.deepEqual([record.value, record.context.n], ["preparing", 5]);
});

test("a commit that the store refuses in a volatile state leaves the state and what it has not kept", async () => {
	let full = false;
	const store = memoryStore({
		beforeCommit: () => {
			if (full) throw new Error("no space left");
		},
	});
	const { ref } = await stage({ store });
	const before = store.journal.last;
	const prepared = ref.ask({ type: "prepare" }, { deadlineMs: 10 });
	full = true;
	await rejection(ref.tell({ type: "work.done" }));
	full = false;
	await ref.tell({ type: "work.done" });
	await prepared;
	assert.deepEqual((await store.journal.read(before, 10)).map(passage), ["idle preparing", "preparing busy"]);
});

test("a crash in a volatile state leads back to the last record, and the request is refused with Aborted", async () => {
	const store = memoryStore();
	const { ref, said, clock, system } = await stage({ store });
	const prepared = rejection(ref.ask({ type: "prepare" }, { deadlineMs: 1_000 }));
	await quiet();
	await rejection(ref.tell({ type: "poison.taken" }));
	const error = await prepared;
	assert.deepEqual([error.code, /without an answer to prepare/.test(error.message)], ["Aborted", true]);
	await clock.advance(50);
	const inspection = system.inspectOne("/a");
	assert.equal(inspection?.node === "actor" && inspection.state, "idle");
	assert.deepEqual(said, ["born 0", "preparing", "restored 0"]);
});

test("a step that changes nothing and orders nothing but answers is not committed", async () => {
	const store = memoryStore();
	const { ref } = await stage({ store });
	const before = store.journal.last;
	assert.equal(await ref.ask({ type: "echo", text: "hello" }, { deadlineMs: 10 }), "hello");
	assert.equal((await rejection(ref.ask({ type: "decline" }, { deadlineMs: 10 }))).code, "AlreadyExists");
	assert.equal(store.journal.last, before);
});
