import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import { type ProbeRef, quiet, rejection, stage } from "./kernel.test-fixture.ts";

const journal = async (store: Store) =>
	(await store.journal.read(0, 1_000)).map(({ kind, body }) =>
		kind === "event"
			? `event ${(body as { text: string }).text}`
			: (body as { message: { type: string } }).message.type,
	);

/** A store whose disk refuses while `full` is set. */
function fullDisk() {
	const disk = { full: false };
	const store = memoryStore({
		beforeCommit: () => {
			if (disk.full) throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
		},
	});
	return { disk, store };
}

test("a contribution runs in the transaction of the record, an effect after the commit", async () => {
	const order: string[] = [];
	const store = memoryStore({ beforeCommit: () => void order.push("commit") });
	const { ref } = await stage({
		store,
		definition: {
			contributions: {
				publish: (transaction, { text }) => {
					const record = transaction.get("v1/test/probe/a") as { context: { n: number } };
					order.push(`contribution ${text}, record before ${record.context.n}`);
				},
				breakContribution: () => undefined,
			},
			effects: {
				say: ({ text }) => {
					const record = store.get("v1/test/probe/a") as { context: { n: number } };
					order.push(`effect ${text}, record ${record.context.n}`);
				},
				fail: () => undefined,
				failLater: () => undefined,
			},
		},
	});
	order.length = 0;
	await ref.tell({ type: "number.seen", n: 7 });
	await quiet();
	assert.deepEqual(order, ["contribution seen 7, record before 0", "commit", "effect seen 7, record 7"]);
});

test("the record, its journal record and the contributions are one batch", async () => {
	const batches: string[][] = [];
	const store = memoryStore({
		beforeCommit: ({ changes, journal }) =>
			void batches.push([...changes.keys(), ...journal.map(({ kind }) => kind)].sort()),
	});
	const { ref } = await stage({ store });
	await ref.tell({ type: "number.seen", n: 7 });
	assert.deepEqual(batches.at(-1), ["event", "transition", "v1/test/probe/a"]);
});

test("effects run in the order of the step, the kernel's among them", async () => {
	const { ref, said } = await stage();
	const echoed = ref.ask({ type: "knock" }, { deadlineMs: 10 }).then(() => said.push("answered"));
	await echoed;
	assert.deepEqual(said, ["born 0", "knock", "answered"]);
	await ref.ask({ type: "finish" }, { deadlineMs: 10 }).then(() => said.push("answered"));
	assert.equal(said[3], "finished");
});

for (const durable of [false, true]) {
	const name = "a throwing effect crashes the actor after its message was acknowledged";
	test(durable ? `${name} (durable)` : name, async () => {
		const { ref, said, system, clock } = await stage(durable ? { store: memoryStore() } : {});
		await ref.tell({ type: "effect.broke" });
		await quiet();
		assert.equal(system.counters.crashes, 1);
		assert.deepEqual(system.deadLetters, []);
		await clock.advance(1_000);
		assert.deepEqual(said, ["born 0", "before", durable ? "restored 0" : "born 0"]);
		await ref.tell({ type: "effect.broke" }); // not kept out: it was taken
	});
}

test("an effect that returns a rejected promise crashes the actor", async () => {
	const { ref, system, clock } = await stage();
	await ref.tell({ type: "promise.broke" });
	await quiet();
	const inspection = system.inspectOne("/a");
	assert.equal(inspection?.status, "backoff");
	assert.match(inspection?.lastError?.problem ?? "", /boom later/);
	await clock.advance(1_000);
	assert.equal(await ref.ask({ type: "echo", text: "back" }, { deadlineMs: 10 }), "back");
});

test("a throwing contribution crashes the actor and nothing of the step is kept", async () => {
	const store = memoryStore();
	const { ref, system, clock } = await stage({ store });
	const error = await rejection(ref.tell({ type: "contribution.broke" }));
	assert.equal(error.code, "Aborted");
	assert.deepEqual(await journal(store), ["started"]);
	assert.equal(system.counters.crashes, 1);
	await clock.advance(1_000);
	assert.equal(await ref.ask({ type: "echo", text: "back" }, { deadlineMs: 10 }), "back");
});

test("a commit that the store refuses is undone: the request is answered with the store's error", async () => {
	const { disk, store } = fullDisk();
	const { ref, system } = await stage({ store });
	disk.full = true;
	const error = await rejection(ref.ask({ type: "work" }, { deadlineMs: 10 }));
	assert.equal(error.code, "Unavailable");
	disk.full = false;
	const inspection = system.inspectOne("/a");
	assert.equal(inspection?.node === "actor" && inspection.state, "idle");
	assert.equal(await ref.ask({ type: "work" }, { deadlineMs: 10 }), null);
	assert.equal(system.counters.crashes, 0);
});

test("a commit that the store refuses is undone: the fact is not acknowledged and the state is the old one", async () => {
	const { disk, store } = fullDisk();
	const { ref, said } = await stage({ store });
	disk.full = true;
	await rejection(ref.tell({ type: "number.seen", n: 1 }));
	disk.full = false;
	assert.deepEqual(said, ["born 0"]);
	assert.equal(await ref.ask({ type: "knock" }, { deadlineMs: 10 }), 0);
	await ref.tell({ type: "number.seen", n: 1 });
	assert.deepEqual(await journal(store), ["started", "knock", "event seen 1", "number.seen"]);
});

test("the kernel's own message is tried again when the store refuses its commit", async () => {
	const { disk, store } = fullDisk();
	const { ref, said, clock } = await stage({ store });
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	disk.full = true;
	await clock.advance(10);
	assert.deepEqual(said, ["born 0"]);
	disk.full = false;
	await clock.advance(1_000);
	assert.deepEqual(said, ["born 0", "passed t"]);
});

test("an answer to itself is tried again when the store refuses its commit", async () => {
	const { disk, store } = fullDisk();
	let answer = (): void => undefined;
	const said: string[] = [];
	const { clock } = await stage({
		store,
		definition: {
			effects: {
				say: ({ text }, scope) => {
					said.push(text);
					answer = () => scope.send({ type: "number.seen", n: 1 });
				},
				fail: () => undefined,
				failLater: () => undefined,
			},
		},
	});
	disk.full = true;
	answer();
	await quiet();
	disk.full = false;
	await clock.advance(1_000);
	assert.deepEqual(said, ["born 0", "seen 1"]);
});

test("a step that changes nothing and orders nothing is not committed", async () => {
	const store = memoryStore();
	const { ref } = await stage({ store });
	const before = store.journal.last;
	await ref.tell({ type: "nothing.happened" });
	await quiet();
	assert.equal(store.journal.last, before);
});

test("an actor that is not durable runs the same steps without a store", async () => {
	const steps = async (ref: ProbeRef, said: readonly string[]) => {
		await ref.tell({ type: "number.seen", n: 3 });
		await ref.ask({ type: "work" }, { deadlineMs: 10 });
		const knocked = ref.ask({ type: "knock" }, { deadlineMs: 10 });
		await ref.tell({ type: "work.done" });
		return [await knocked, ...said];
	};
	const durable = await stage({ store: memoryStore() });
	const ephemeral = await stage();
	assert.deepEqual(await steps(ephemeral.ref, ephemeral.said), await steps(durable.ref, durable.said));
});

test("scope.signal is aborted when the actor stops, crashes or ends", async () => {
	for (const how of ["stop", "crash", "end"]) {
		let signal: AbortSignal | undefined;
		const { ref, system } = await stage({
			spec: { restart: "temporary" },
			definition: {
				effects: {
					say: (_, scope) => {
						signal ??= scope.signal;
					},
					fail: () => {
						throw new Error("boom");
					},
					failLater: () => undefined,
					publish: () => undefined,
					breakContribution: () => undefined,
				},
			},
		});
		assert.equal(signal?.aborted, false);
		if (how === "stop") await system.stop();
		else if (how === "crash") await ref.tell({ type: "effect.broke" });
		else await ref.tell({ type: "life.over" });
		await quiet();
		assert.equal(signal?.aborted, true, how);
	}
});

test("an effect that throws on the way to a final state does not undo the end", async () => {
	const store = memoryStore();
	const { ref, system } = await stage({
		store,
		spec: { restart: "transient" },
		definition: {
			effects: {
				say: ({ text }) => {
					if (text === "finished") throw new Error("boom");
				},
				fail: () => undefined,
				failLater: () => undefined,
			},
		},
	});
	assert.equal(await ref.ask({ type: "finish" }, { deadlineMs: 10 }), null);
	await quiet();
	assert.equal(store.get("v1/test/probe/a"), undefined);
	assert.equal(system.inspectOne("/a")?.status, "ended");
	assert.equal(system.counters.crashes, 1);
});
