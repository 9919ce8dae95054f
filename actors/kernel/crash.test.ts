import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { child, supervisorChild } from "./child-spec.ts";
import { manualClock, type ProbeRef, probe, quiet, rejection, stage } from "./kernel.test-fixture.ts";
import { startSystem } from "./system.ts";

test("a restart is a new actor with the same name and mailbox, its state from the last record", async () => {
	const { ref, system, clock, said } = await stage({ store: memoryStore() });
	await ref.tell({ type: "number.seen", n: 5 });
	await rejection(ref.ask({ type: "explode" }, { deadlineMs: 10 }));
	await clock.advance(50);
	assert.equal(system.find("/a"), ref);
	assert.equal(await ref.ask({ type: "knock" }, { deadlineMs: 10 }), 5);
	assert.deepEqual(said, ["born 0", "seen 5", "restored 5", "knock"]);
	assert.equal(system.inspectOne("/a")?.restarts, 1);
});

test("the request that killed an actor is rejected with Internal and kept as a dead letter", async () => {
	const { ref, system } = await stage();
	const error = await rejection(ref.ask({ type: "explode" }, { deadlineMs: 10 }));
	assert.equal(error.code, "Internal");
	assert.match(error.message, /probe "a": crashed in state "idle": boom/);
	assert.deepEqual(
		system.deadLetters.map(({ message }) => message),
		[{ type: "explode" }],
	);
	const late = await rejection(stage().then((other) => other.ref.ask({ type: "explodeLate" }, { deadlineMs: 10 })));
	assert.equal(late.code, "Internal");
});

test("the fact that killed an actor is not acknowledged, and is kept as a dead letter", async () => {
	const { ref, system } = await stage({ store: memoryStore() });
	const error = await rejection(ref.tell({ type: "poison.taken" }));
	assert.equal(error.code, "Aborted");
	assert.deepEqual(
		system.deadLetters.map(({ message }) => message),
		[{ type: "poison.taken" }],
	);
});

test("a fact that killed an actor is refused at the door for a time that doubles, so that it cannot kill in a loop", async () => {
	const { ref, system, clock } = await stage({ supervisor: { intensity: 1 } });
	const tell = () => rejection(ref.tell({ type: "poison.taken" })).then(({ code }) => code);
	assert.equal(await tell(), "Aborted");
	await clock.advance(9_999);
	assert.equal(await tell(), "FailedPrecondition");
	await ref.tell({ type: "number.seen", n: 1 }); // others enter
	await clock.advance(1);
	assert.equal(await tell(), "Aborted");
	await clock.advance(19_999);
	assert.equal(await tell(), "FailedPrecondition");
	await clock.advance(1);
	assert.equal(await tell(), "Aborted");
	await clock.advance(1_000);
	assert.equal(system.inspectOne("/a")?.status, "running");
});

test("messages wait, bounded, while the actor is in backoff", async () => {
	const { ref, said, clock, system } = await stage({ definition: { mailbox: 2 } });
	await ref.tell({ type: "effect.broke" });
	await quiet();
	assert.equal(system.inspectOne("/a")?.status, "backoff");
	const told = [1, 2].map((n) => ref.tell({ type: "number.seen", n }));
	assert.equal((await rejection(ref.tell({ type: "number.seen", n: 3 }))).code, "ResourceExhausted");
	await clock.advance(50);
	await Promise.all(told);
	assert.deepEqual(said.slice(2), ["born 0", "seen 1", "seen 2"]);
});

test("requests held by a crashed actor go back to the front of the mailbox in order", async () => {
	const { ref, said, clock } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const knocked = [1, 2].map(() => ref.ask({ type: "knock" }, { deadlineMs: 1_000 }));
	await quiet();
	void ref.tell({ type: "effect.broke" });
	void ref.tell({ type: "number.seen", n: 1 });
	await clock.advance(50);
	await Promise.all(knocked);
	await quiet();
	assert.deepEqual(said, ["born 0", "before", "born 0", "knock", "knock", "seen 1"]);
});

test("requests that a crashed durable actor had taken stay open for its successor", async () => {
	const { ref, clock } = await stage({ store: memoryStore() });
	const waited = ref.ask({ type: "wait" }, { deadlineMs: 1_000 });
	await ref.tell({ type: "effect.broke" });
	await clock.advance(50);
	await ref.tell({ type: "answer.found", text: "late but true" });
	assert.equal(await waited, "late but true");
});

test("requests that a crashed actor without a record had taken are refused with Aborted", async () => {
	const { ref } = await stage();
	const waited = rejection(ref.ask({ type: "wait" }, { deadlineMs: 1_000 }));
	await ref.tell({ type: "effect.broke" });
	const error = await waited;
	assert.equal(error.code, "Aborted");
	assert.match(error.message, /was restarted without an answer to wait/);
});

test("a crash leaves an actor's siblings and ancestors alone", async () => {
	const said: string[] = [];
	const logic = probe(said, false);
	const inner = {
		strategy: "one_for_one" as const,
		children: ["a", "b"].map((id) => child({ id, logic, input: { n: 0 } })),
	};
	const system = await startSystem({
		clock: manualClock(),
		root: { strategy: "rest_for_one", children: [supervisorChild({ id: "inner", supervisor: inner })] },
	});
	await rejection((system.find<ProbeRef>("/inner/a") as ProbeRef).ask({ type: "explode" }, { deadlineMs: 10 }));
	await quiet();
	assert.deepEqual(
		[...system.inspect()].map(({ path, status, restarts }) => `${path} ${status} ${restarts}`),
		["/ running 0", "/inner running 0", "/inner/a backoff 1", "/inner/b running 0"],
	);
	const b = system.find<ProbeRef>("/inner/b") as ProbeRef;
	assert.equal(await b.ask({ type: "echo", text: "fine" }, { deadlineMs: 10 }), "fine");
});

test("an answer of the work that a dead actor had begun does not reach its successor", async () => {
	const sends: (() => void)[] = [];
	const said: string[] = [];
	const { ref, clock } = await stage({
		definition: {
			effects: {
				say: ({ text }, scope) => {
					said.push(text);
					sends.push(() => scope.send({ type: "number.seen", n: 9 }));
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
	await ref.tell({ type: "effect.broke" });
	await clock.advance(50);
	sends[0]?.();
	await quiet();
	assert.deepEqual(said, ["born 0", "before", "born 0"]);
});

test("an actor whose first effect throws has started, and is restarted", async () => {
	for (const store of [undefined, memoryStore()]) {
		let births = 0;
		const { ref, clock, system } = await stage({
			...(store === undefined ? {} : { store }),
			definition: {
				effects: {
					say: ({ text }) => {
						if (text.startsWith("born") && ++births === 1) throw new Error("boom");
					},
					fail: () => undefined,
					failLater: () => undefined,
					...(store === undefined ? { publish: () => undefined, breakContribution: () => undefined } : {}),
				},
			},
		});
		await quiet();
		assert.equal(system.inspectOne("/a")?.status, "backoff");
		await clock.advance(50);
		assert.equal(await ref.ask({ type: "echo", text: "alive" }, { deadlineMs: 10 }), "alive");
		assert.equal(births, store === undefined ? 2 : 1);
	}
});
