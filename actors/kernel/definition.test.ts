import assert from "node:assert/strict";
import { test } from "node:test";
import {
	type AnyStateMachine,
	createMachine,
	emit,
	enqueueActions,
	log,
	raise,
	sendTo,
	setup,
	spawnChild,
} from "xstate";
import { effect, kernelEffects } from "../../machines/effect.ts";
import { defineActor } from "./actor-logic.ts";
import { child } from "./child-spec.ts";
import { manualClock, quiet, rejection, stage } from "./kernel.test-fixture.ts";
import { problemsOf } from "./machine-check.ts";
import { startSystem } from "./system.ts";

const refusal = (machine: AnyStateMachine, durable = false): string => {
	try {
		defineActor({ kind: "test", machine, ...(durable ? { durable: { schema: 1, key: () => "k" } } : {}) });
	} catch (error) {
		return (error as Error).message;
	}
	return "none";
};

test("`after`, `invoke`, spawned children and delayed raise are refused when the actor is defined", () => {
	const state = (config: object) => createMachine({ id: "m", initial: "a", states: { a: config, b: {} } });
	const logic = createMachine({});
	assert.match(refusal(state({ after: { 10: "b" } })), /state "m.a" has "after"; use setDeadline/);
	assert.match(refusal(state({ invoke: { src: logic } })), /state "m.a" has "invoke"/);
	assert.match(
		refusal(state({ entry: spawnChild(logic) })),
		/has xstate.spawnChild, which needs xstate's own interpreter/,
	);
	assert.match(refusal(state({ entry: raise({ type: "x" }, { delay: 10 }) })), /state "m.a" has a delayed raise/);
	assert.match(refusal(state({ on: { x: { actions: sendTo("y", { type: "z" }) } } })), /has xstate.sendTo/);
	assert.match(refusal(state({ exit: emit({ type: "x" }) })), /has xstate.emit/);
	assert.match(refusal(state({ always: { guard: () => false, actions: log("x") } })), /has xstate.log/);
	assert.equal(refusal(state({ entry: raise({ type: "x" }) })), "none");
	const named = setup({ actions: { later: raise({ type: "x" }, { delay: 10 }) } }).createMachine({ id: "m" });
	assert.match(refusal(named), /action "later" has a delayed raise/);
});

test("actions that are not named, or named and not provided, are refused when the actor is defined", () => {
	assert.match(
		refusal(createMachine({ id: "m", entry: () => undefined })),
		/state "m" has an inline action; give it a name/,
	);
	const machine = setup({ actions: { unload: effect() } }).createMachine({ id: "m", on: { x: { actions: "unload" } } });
	assert.match(refusal(machine), /state "m" orders "unload", which is neither a contribution nor an effect/);
	assert.match(refusal(createMachine({ id: "m", entry: "unknown" })), /orders "unknown"/);
	const stranger = () =>
		defineActor({ kind: "test", machine, effects: { unload: () => undefined, load: () => undefined } as never });
	assert.throws(stranger, /the machine has no action "load"/);
	const kernels = setup({ actions: kernelEffects }).createMachine({ id: "m" });
	assert.throws(
		() => defineActor({ kind: "test", machine: kernels, effects: { reply: () => undefined } }),
		/"reply" is the kernel's/,
	);
	assert.deepEqual(problemsOf(machine, new Set(["unload"]), true), []);
});

test("an action that is both contribution and effect is refused when the actor is defined", () => {
	const machine = setup({ actions: { publish: effect() } }).createMachine({ id: "m", entry: "publish" });
	const both = { contributions: { publish: () => undefined }, effects: { publish: () => undefined } };
	assert.throws(
		() => defineActor({ kind: "test", machine, durable: { schema: 1, key: () => "k" }, ...both }),
		/"publish" is both a contribution and an effect/,
	);
	assert.throws(
		() => defineActor({ kind: "test", machine, contributions: both.contributions }),
		/contributions need a durable actor/,
	);
});

test("history states are refused in a durable actor", () => {
	const machine = createMachine({ id: "m", initial: "a", states: { a: {}, back: { type: "history" } } });
	assert.match(refusal(machine, true), /state "m.back" is a history state/);
	assert.equal(refusal(machine), "none");
});

test("an endless `always` loop crashes the actor and not the daemon", async () => {
	const { ref, clock } = await stage();
	const error = await rejection(ref.tell({ type: "loop.entered" }));
	assert.match(error.message, /Infinite loop detected/);
	await clock.advance(50);
	assert.equal(await ref.ask({ type: "echo", text: "alive" }, { deadlineMs: 10 }), "alive");
});

test("an action that appears only at run time and is not provided crashes the actor", async () => {
	const machine = setup({ types: { events: {} as { type: "surprise.came" } } }).createMachine({
		id: "m",
		on: { "surprise.came": { actions: enqueueActions(({ enqueue }) => enqueue(() => undefined)) } },
	});
	const spec = child({ id: "a", logic: defineActor({ kind: "test", machine }), input: undefined });
	const system = await startSystem({ clock: manualClock(), root: { strategy: "one_for_one", children: [spec] } });
	const error = await rejection(system.find("/a")?.tell({ type: "surprise.came" }) ?? Promise.resolve());
	assert.match(error.message, /neither a contribution nor an effect/);
	await quiet();
	await system.stop();
});
