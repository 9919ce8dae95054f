import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { quiet, stage } from "./kernel.test-fixture.ts";

test("a deadline that was set arrives as `deadline.passed` with its name", async () => {
	const { ref, clock, said } = await stage();
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	await clock.advance(9);
	assert.deepEqual(said, ["born 0"]);
	await clock.advance(1);
	assert.deepEqual(said, ["born 0", "passed t"]);
	assert.equal(clock.timers, 0);
});

test("a cleared deadline does not arrive, even if it was already due", async () => {
	const { ref, clock, said } = await stage();
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	await ref.tell({ type: "timer.wanted", name: "u", ms: 10 });
	const due = clock.advance(10); // queues both, behind what is told now
	void ref.tell({ type: "timer.unwanted", name: "t" });
	await due;
	assert.deepEqual(said, ["born 0", "passed u"]);
});

test("a deadline set anew counts from then", async () => {
	const { ref, clock, said } = await stage();
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	await clock.advance(9);
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	await clock.advance(9);
	assert.deepEqual(said, ["born 0"]);
	await clock.advance(1);
	assert.deepEqual(said, ["born 0", "passed t"]);
});

test("deadlines are kept in the record and run on after a restart", async () => {
	const { ref, clock, said } = await stage({ store: memoryStore(), supervisor: { backoff: { firstMs: 4 } } });
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	await ref.tell({ type: "effect.broke" });
	await clock.advance(9);
	assert.deepEqual(said, ["born 0", "before", "restored 0"]);
	await clock.advance(1);
	assert.deepEqual(said.slice(3), ["passed t"]);
});

test("a deadline that fell due while nobody ran arrives after `restored`", async () => {
	const store = memoryStore();
	const before = await stage({ store });
	await before.ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	await before.system.stop();
	await before.clock.advance(1_000);
	assert.deepEqual(before.said, ["born 0"]);
	const after = await stage({ store, clock: before.clock });
	await after.clock.advance(0);
	assert.deepEqual(after.said, ["restored 0", "passed t"]);
});

test("`deadline.passed` finds room in a full mailbox", async () => {
	const { ref, clock, said } = await stage({ definition: { mailbox: 1 } });
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	const told = clock.advance(10);
	void ref.tell({ type: "number.seen", n: 1 });
	await told;
	await quiet();
	assert.deepEqual(said, ["born 0", "seen 1", "passed t"]);
});

test("whatever is set and cleared, the deadlines that stand are those that pass, when they are due", async () => {
	const command = fc.record({
		name: fc.constantFrom("a", "b", "c"),
		ms: fc.option(fc.integer({ min: 1, max: 30 })),
		advance: fc.integer({ min: 0, max: 20 }),
	});
	await fc.assert(
		fc.asyncProperty(fc.array(command, { maxLength: 12 }), fc.boolean(), async (commands, durable) => {
			const { ref, clock, said } = await stage(durable ? { store: memoryStore() } : {});
			const standing = new Map<string, number>();
			for (const { name, ms, advance } of commands) {
				await ref.tell(ms === null ? { type: "timer.unwanted", name } : { type: "timer.wanted", name, ms });
				if (ms === null) standing.delete(name);
				else standing.set(name, clock.now() + ms);
				said.length = 0;
				await clock.advance(advance);
				const passed = [...standing].filter(([, due]) => due <= clock.now());
				for (const [due] of passed) standing.delete(due);
				assert.deepEqual([...said].sort(), passed.map(([due]) => `passed ${due}`).sort());
			}
			assert.equal(clock.timers, standing.size);
		}),
		{ numRuns: 40 },
	);
});
