import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assign, setup } from "xstate";
import { kernelEffects } from "../../machines/effect.ts";
import { defineActor } from "./actor-logic.ts";
import { child } from "./child-spec.ts";
import { manualClock, quiet, rejection, stage } from "./kernel.test-fixture.ts";
import { startSystem } from "./system.ts";

test("a request that the state's `meta.stash` names is held until the state changes", async () => {
	const { ref, system } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const knocked = ref.ask({ type: "knock" }, { deadlineMs: 10 });
	await quiet();
	assert.deepEqual(
		system.inspectOne("/a")?.waiting.map(({ lane, type }) => [lane, type]),
		[["stash", "knock"]],
	);
	await ref.tell({ type: "work.done" });
	assert.equal(await knocked, 0);
});

test("after a change of state the held requests go first, in order", async () => {
	const { ref, said } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const knocked = [1, 2].map(() => ref.ask({ type: "knock" }, { deadlineMs: 10 }));
	await quiet();
	void ref.tell({ type: "work.done" });
	void ref.tell({ type: "number.seen", n: 1 });
	await Promise.all(knocked);
	await quiet();
	assert.deepEqual(said, ["born 0", "knock", "knock", "seen 1"]);
});

test("a held request keeps its old deadline", async () => {
	const { ref, clock, said } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const knocked = rejection(ref.ask({ type: "knock" }, { deadlineMs: 10 }));
	await clock.advance(10);
	assert.equal((await knocked).code, "DeadlineExceeded");
	await ref.tell({ type: "work.done" });
	await quiet();
	assert.deepEqual(said, ["born 0"]);
});

test("a full stash refuses a request with ResourceExhausted", async () => {
	const { ref } = await stage({ definition: { stash: 1 } });
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const held = ref.ask({ type: "knock" }, { deadlineMs: 10 });
	const error = await rejection(ref.ask({ type: "knock" }, { deadlineMs: 10 }));
	assert.equal(error.code, "ResourceExhausted");
	assert.match(error.message, /too many requests wait in state "busy"/);
	await ref.tell({ type: "work.done" });
	await held;
});

test("a request that is neither held nor accepted is refused with FailedPrecondition naming the state", async () => {
	const { ref } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const error = await rejection(ref.ask({ type: "work" }, { deadlineMs: 10 }));
	assert.equal(error.code, "FailedPrecondition");
	assert.equal(error.message, 'probe "a": cannot work in state "busy"');
});

test("the definition may word a refusal itself", async () => {
	const { ref } = await stage({
		definition: {
			refuse: (request, snapshot) =>
				snapshot.matches("busy") ? { code: "NotFound", problem: `no ${request.type} today` } : undefined,
		},
	});
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const error = await rejection(ref.ask({ type: "work" }, { deadlineMs: 10 }));
	assert.deepEqual([error.code, error.message], ["NotFound", 'probe "a": no work today']);
});

test("a step that stays in its state retries no held request", async () => {
	const { ref, system } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const knocked = ref.ask({ type: "knock" }, { deadlineMs: 10 });
	await ref.tell({ type: "number.seen", n: 1 });
	assert.equal(system.inspectOne("/a")?.waiting[0]?.lane, "stash");
	await ref.tell({ type: "work.done" });
	await knocked;
});

/** Two kinds of request, each held in one of two states, as gen_statem's documentation postpones events. */
const gate = setup({
	types: {
		context: {} as { taken: readonly string[] },
		events: {} as
			| { type: "left"; request: string; n: number }
			| { type: "right"; request: string; n: number }
			| { type: "gate.turned" },
		meta: {} as { stash?: readonly ("left" | "right")[] },
	},
	actions: {
		...kernelEffects,
		take: assign({
			taken: ({ context, event }) => ("n" in event ? [...context.taken, `${event.type} ${event.n}`] : context.taken),
		}),
	},
}).createMachine({
	context: { taken: [] },
	initial: "toLeft",
	states: {
		toLeft: {
			meta: { stash: ["right"] },
			on: {
				left: {
					actions: ["take", { type: "reply", params: ({ event }) => ({ request: event.request, value: event.n }) }],
				},
				"gate.turned": "toRight",
			},
		},
		toRight: {
			meta: { stash: ["left"] },
			on: {
				// a request that changes the state itself: the rest of the stash must still come first and in order
				right: {
					target: "toLeft",
					actions: ["take", { type: "reply", params: ({ event }) => ({ request: event.request, value: event.n }) }],
				},
				"gate.turned": "toLeft",
			},
		},
	},
});

test("requests are taken as gen_statem takes postponed events", async () => {
	const message = fc.constantFrom("left" as const, "right" as const, "gate.turned" as const);
	await fc.assert(
		fc.asyncProperty(fc.array(message, { maxLength: 40 }), async (types) => {
			const logic = defineActor({ kind: "gate", machine: gate });
			const spec = child({ id: "gate", logic, input: undefined });
			const system = await startSystem({ clock: manualClock(), root: { strategy: "one_for_one", children: [spec] } });
			const taken: number[] = [];
			const ref = system.find<NonNullable<typeof spec.ref>>("/gate");
			types.forEach((type, n) => {
				if (type === "gate.turned") void ref?.tell({ type });
				else void ref?.ask({ type, n }, { deadlineMs: 1_000 }).then((value) => taken.push(Number(value)));
			});
			await quiet();
			assert.deepEqual(taken, takenByModel(types));
		}),
		{ numRuns: 100 },
	);
});

/** gen_statem: on a change of state the postponed events are put, in order, before the others. */
function takenByModel(types: readonly ("left" | "right" | "gate.turned")[]): number[] {
	let queue = types.map((type, n) => ({ type, n }));
	let postponed: typeof queue = [];
	let state: "left" | "right" = "left";
	const taken: number[] = [];
	for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
		const before: "left" | "right" = state;
		if (next.type === "gate.turned") state = state === "left" ? "right" : "left";
		else if (next.type !== state) postponed.push(next);
		else {
			taken.push(next.n);
			state = "left";
		}
		if (state === before) continue;
		queue = [...postponed, ...queue];
		postponed = [];
	}
	return taken;
}
