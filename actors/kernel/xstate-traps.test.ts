import assert from "node:assert/strict";
import { test } from "node:test";
import { assign, createActor, fromPromise, setup, transition } from "xstate";
import { effect } from "../../machines/effect.ts";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { defineActor } from "./actor-logic.ts";
import { child } from "./child-spec.ts";
import { quiet, rejection, stage } from "./kernel.test-fixture.ts";
import { startSystem } from "./system.ts";

test("xstate: a child's unhandled error ends the root; each kernel actor is its own root", async () => {
	const bad = fromPromise(async () => {
		throw new Error("boom");
	});
	const inner = setup({ actors: { bad } }).createMachine({ invoke: { src: "bad" } });
	const root = createActor(setup({ actors: { inner } }).createMachine({ invoke: { src: "inner" } }));
	const errors: unknown[] = [];
	root.subscribe({ error: (error) => errors.push(error) });
	root.start();
	await quiet();
	assert.equal(root.getSnapshot().status, "error");
	assert.match(String(errors[0]), /boom/);

	const { ref, system } = await stage();
	await rejection(ref.ask({ type: "explode" }, { deadlineMs: 10 }));
	assert.equal([...system.inspect()][0]?.status, "running");
});

const doorMachine = setup({ types: { events: {} as { type: "close" } | { type: "open" } } }).createMachine({
	initial: "open",
	states: { open: { on: { close: "closed" } }, closed: { type: "final" } },
});

test("xstate: an event without a transition is ignored; the kernel refuses it or keeps a dead letter", async () => {
	const door = createActor(doorMachine).start();
	door.send({ type: "open" });
	assert.equal(door.getSnapshot().value, "open");

	const { ref, system } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	assert.equal((await rejection(ref.ask({ type: "work" }, { deadlineMs: 10 }))).code, "FailedPrecondition");
	await ref.tell({ type: "work.done" });
	await ref.tell({ type: "work.done" });
	assert.equal(system.deadLetters.length, 1);
});

test("xstate: an event for a finished actor is dropped; the kernel rejects it", async () => {
	const door = createActor(doorMachine).start();
	door.send({ type: "close" });
	door.send({ type: "open" });
	assert.equal(door.getSnapshot().status, "done");

	const { ref } = await stage({ spec: { restart: "temporary" } });
	await ref.ask({ type: "finish" }, { deadlineMs: 10 });
	assert.equal((await rejection(ref.ask({ type: "knock" }, { deadlineMs: 10 }))).code, "NotFound");
});

test("xstate: the mailbox takes 100000 events from one action; the kernel's is bounded", async () => {
	let taken = 0;
	const flood: { send: () => void } = { send: () => undefined };
	const machine = setup({
		types: { events: {} as { type: "go" } | { type: "drop" } },
		actions: {
			flood: () => {
				for (let n = 0; n < 100_000; n++) flood.send();
			},
			count: () => {
				taken++;
			},
		},
	}).createMachine({ on: { go: { actions: "flood" }, drop: { actions: "count" } } });
	const actor = createActor(machine).start();
	flood.send = () => actor.send({ type: "drop" });
	actor.send({ type: "go" });
	assert.equal(taken, 100_000);

	const { ref } = await stage();
	const told = Array.from({ length: 3_000 }, (_, n) => ref.tell({ type: "number.seen", n }));
	const refused = (await Promise.allSettled(told)).filter(({ status }) => status === "rejected");
	assert.equal(refused.length, 3_000 - 1_024);
});

test("xstate: an effect runs while getSnapshot shows the old state; the kernel's effects see the committed state", async () => {
	const seen: string[] = [];
	const look: { now: () => string } = { now: () => "" };
	const machine = setup({
		types: { context: {} as { n: number }, events: {} as { type: "step.made" } },
		actions: { look: () => void seen.push(look.now()) },
	}).createMachine({
		context: { n: 0 },
		initial: "a",
		states: { a: { on: { "step.made": { target: "b", actions: [assign({ n: 1 }), "look"] } } }, b: {} },
	});
	const actor = createActor(machine).start();
	look.now = () => actor.getSnapshot().value;
	actor.send({ type: "step.made" });
	assert.deepEqual(seen, ["a"]);

	const store = memoryStore();
	const logic = defineActor({
		kind: "looker",
		machine,
		durable: { schema: 1, key: () => "k" },
		effects: {
			look: (_, scope) => void seen.push((store.get("k") as { value: string }).value, `n ${scope.context.n}`),
		},
	});
	const spec = child({ id: "a", logic, input: undefined });
	const system = await startSystem({ store, root: { strategy: "one_for_one", children: [spec] } });
	await system.find("/a")?.tell({ type: "step.made" });
	await quiet();
	assert.deepEqual(seen, ["a", "b", "n 1"]);
	await system.stop();
});

test("xstate: restore starts active promise actors again, but no entry action, always or after; the kernel restores records", async () => {
	const runs: string[] = [];
	const work = fromPromise(async () => {
		runs.push("promise");
		await new Promise(() => undefined);
	});
	const machine = setup({
		types: { context: {} as { open: boolean } },
		actors: { work },
		actions: { enter: () => void runs.push("entry") },
		guards: { isOpen: ({ context }) => context.open },
	}).createMachine({
		context: { open: false },
		initial: "busy",
		states: {
			busy: {
				entry: "enter",
				invoke: { src: "work" },
				always: { guard: "isOpen", target: "done" },
				after: { 1: "late" },
			},
			late: {},
			done: {},
		},
	});
	const clock = { setTimeout: () => 0, clearTimeout: () => undefined };
	const first = createActor(machine, { clock }).start();
	const snapshot = first.getPersistedSnapshot() as unknown as { context: { open: boolean } };
	first.stop();
	assert.deepEqual(runs, ["promise", "entry"]);
	let timers = 0;
	const counting = { setTimeout: () => timers++, clearTimeout: () => undefined };
	const restored = { ...snapshot, context: { open: true } } as never;
	const second = createActor(machine, { snapshot: restored, clock: counting }).start();
	await quiet();
	assert.deepEqual(runs, ["promise", "entry", "promise"]);
	assert.equal(second.getSnapshot().value, "busy"); // no `always`
	assert.equal(timers, 0); // no `after`
	second.stop();

	const store = memoryStore();
	const before = await stage({ store });
	await before.system.stop();
	const after = await stage({ store });
	await quiet();
	assert.deepEqual(after.said, ["restored 0"]);
});

test("xstate: transition() builds the initial snapshot at every step; the kernel steps without", async () => {
	let built = 0;
	const machine = setup({
		types: { input: {} as { n: number }, context: {} as { n: number }, events: {} as { type: "step.made" } },
		actions: { more: assign({ n: ({ context }) => context.n + 1 }), unused: effect() },
	}).createMachine({
		context: ({ input }) => {
			built++;
			return { n: input.n };
		},
		on: { "step.made": { actions: "more" } },
	});
	const snapshot = machine.resolveState({ value: {}, context: { n: 0 } });
	transition(machine, snapshot, { type: "step.made" });
	assert.equal(built, 1);

	const logic = defineActor({ kind: "stepper", machine, effects: { unused: () => undefined } });
	const spec = child({ id: "a", logic, input: { n: 0 } });
	const system = await startSystem({ root: { strategy: "one_for_one", children: [spec] } });
	built = 0;
	for (let n = 0; n < 10; n++) await system.find("/a")?.tell({ type: "step.made" });
	assert.equal(built, 0);
	await system.stop();
});
