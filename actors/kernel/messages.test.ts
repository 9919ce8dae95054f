import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { quiet, rejection, stage } from "./kernel.test-fixture.ts";
import type { Message } from "./message.ts";

test("in one process a message arrives at most once, and messages of one sender to one receiver arrive in order", async () => {
	await fc.assert(
		fc.asyncProperty(fc.array(fc.integer(), { maxLength: 50 }), fc.boolean(), async (numbers, durable) => {
			const { ref, said } = await stage(durable ? { store: memoryStore() } : {});
			await Promise.all(numbers.map((n) => ref.tell({ type: "number.seen", n })));
			assert.deepEqual(
				said.slice(1),
				numbers.map((n) => `seen ${n}`),
			);
		}),
		{ numRuns: 30 },
	);
});

test("a request reaches the machine as an event with its id in `request`", async () => {
	const { ref, said, clock } = await stage();
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 1 }));
	await clock.advance(1);
	await asked;
	assert.match(said[1] ?? "", /^cancelled \w+-1$/);
});

test("a message whose type is xstate's own (`xstate.…` or `*`) is refused with InvalidArgument", async () => {
	const { ref } = await stage();
	for (const type of ["xstate.stop", "xstate.error.actor.a", "*"]) {
		const message = { type } as Message as never;
		assert.equal((await rejection(ref.tell(message))).code, "InvalidArgument");
		assert.equal((await rejection(ref.ask(message, { deadlineMs: 10 }))).code, "InvalidArgument");
	}
	assert.equal(await ref.ask({ type: "echo", text: "alive" }, { deadlineMs: 10 }), "alive");
});

test("a fact is acknowledged when what it caused is durable", async () => {
	let release = (): void => undefined;
	let held = Promise.resolve();
	const store = memoryStore({ beforeCommit: () => held });
	const { ref } = await stage({ store });
	held = new Promise((resolve) => {
		release = resolve;
	});
	let acknowledged = false;
	const told = ref.tell({ type: "number.seen", n: 1 }).then(() => {
		acknowledged = true;
	});
	await quiet();
	assert.equal(acknowledged, false);
	release();
	await told;
	const events = (await store.journal.read(0, 100)).filter(({ kind }) => kind === "event");
	assert.deepEqual(
		events.map(({ body }) => body),
		[{ text: "seen 1" }],
	);
});

test("a fact that changes nothing is acknowledged", async () => {
	const store = memoryStore();
	const { ref, system } = await stage({ store });
	const before = store.journal.last;
	await ref.tell({ type: "nothing.happened" });
	assert.equal(store.journal.last, before);
	assert.equal(system.deadLetters.length, 0);
});

test("a fact whose type the state does not name is acknowledged and kept as a dead letter", async () => {
	const { ref, system } = await stage();
	await ref.tell({ type: "work.done" });
	assert.deepEqual(
		system.deadLetters.map(({ message, reason }) => [message.type, reason]),
		[["work.done", 'not known in state "idle"']],
	);
});

test("a fact to an actor that has ended is rejected with NotFound and kept as a dead letter", async () => {
	const { ref, system } = await stage({ spec: { restart: "temporary" } });
	await ref.ask({ type: "finish" }, { deadlineMs: 10 });
	assert.equal((await rejection(ref.tell({ type: "number.seen", n: 1 }))).code, "NotFound");
	assert.deepEqual(
		system.deadLetters.map(({ message }) => message.type),
		["number.seen"],
	);
});

test("a fact to an actor that is being stopped is rejected with Unavailable, so that its sender repeats it", async () => {
	const farewell = Promise.withResolvers<void>();
	const { ref, system } = await stage({ definition: { terminate: () => farewell.promise } });
	const stopped = system.stop();
	await quiet();
	assert.equal((await rejection(ref.tell({ type: "number.seen", n: 1 }))).code, "Unavailable");
	farewell.resolve();
	await stopped;
	assert.equal((await rejection(ref.tell({ type: "number.seen", n: 1 }))).code, "Unavailable");
});

test("an actor's answer to itself by scope.send never rejects and finds room in a full mailbox", async () => {
	let answer = (_n: number): void => undefined;
	const said: string[] = [];
	const { ref, system } = await stage({
		definition: {
			mailbox: 2,
			effects: {
				say: ({ text }, scope) => {
					said.push(text);
					answer = (n) => scope.send({ type: "number.seen", n });
				},
				fail: () => undefined,
				failLater: () => undefined,
				publish: () => undefined,
				breakContribution: () => undefined,
			},
		},
	});
	void ref.tell({ type: "number.seen", n: 1 });
	void ref.tell({ type: "number.seen", n: 2 });
	const third = rejection(ref.tell({ type: "number.seen", n: 3 }));
	for (const n of [4, 5, 6]) answer(n);
	assert.equal((await third).code, "ResourceExhausted");
	await quiet();
	assert.deepEqual(said, ["born 0", "seen 1", "seen 2", "seen 4", "seen 5"]);
	assert.deepEqual(
		system.deadLetters.map(({ message }) => message),
		[{ type: "number.seen", n: 6 }],
	);
	await system.stop();
	answer(7); // after the end: dropped
});

test("a fact may be told without waiting for its acknowledgement", async () => {
	const { ref, system } = await stage();
	await system.stop();
	void ref.tell({ type: "number.seen", n: 1 });
	await quiet();
});
