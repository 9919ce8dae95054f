import { assign, setup } from "xstate";
import { effect, type KernelFact, kernelEffects } from "../../machines/effect.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import type { ActorDefinition } from "./actor-definition.ts";
import { type ActorLogic, defineActor } from "./actor-logic.ts";
import { type ActorChildSpec, child, type RefOf, type SupervisorSpec } from "./child-spec.ts";
import type { Clock } from "./clock.ts";
import { type System, startSystem } from "./system.ts";

/** Time that stands still until it is told to go on. */
export interface ManualClock extends Clock {
	/** Runs the timers that fall due, in order, each followed by everything it sets in motion. */
	advance(ms: number): Promise<void>;
	readonly timers: number;
}

export function manualClock(): ManualClock {
	let now = 1_000_000;
	const timers = new Set<{ readonly due: number; readonly callback: () => void }>();
	return {
		now: () => now,
		monotonic: () => now,
		after(ms, callback) {
			const timer = { due: now + ms, callback };
			timers.add(timer);
			return () => timers.delete(timer);
		},
		async advance(ms) {
			const end = now + ms;
			await quiet();
			for (;;) {
				const [next] = [...timers].filter(({ due }) => due <= end).sort((one, other) => one.due - other.due);
				if (next === undefined) break;
				timers.delete(next);
				now = Math.max(now, next.due);
				next.callback();
				await quiet();
			}
			now = end;
		},
		get timers() {
			return timers.size;
		},
	};
}

/** Everything that can happen without time passing has happened. Turns of the event loop, not a sleep. */
export async function quiet(): Promise<void> {
	for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve));
}

type ProbeRequest =
	| { type: "echo"; request: string; text: string }
	| { type: "wait"; request: string }
	| { type: "knock"; request: string }
	| { type: "work"; request: string }
	| { type: "prepare"; request: string }
	| { type: "decline"; request: string }
	| { type: "explode"; request: string }
	| { type: "explodeLate"; request: string }
	| { type: "twice"; request: string }
	| { type: "finish"; request: string };

type ProbeFact =
	| { type: "number.seen"; n: number }
	| { type: "work.done" }
	| { type: "answer.found"; text: string }
	| { type: "nothing.happened" }
	| { type: "poison.taken" }
	| { type: "effect.broke" }
	| { type: "promise.broke" }
	| { type: "contribution.broke" }
	| { type: "loop.entered" }
	| { type: "timer.wanted"; name: string; ms: number }
	| { type: "timer.unwanted"; name: string }
	| { type: "life.over" };

const throws = (): never => {
	throw new Error("boom");
};

/** An actor for tests: every kind of thing the kernel lets a machine do. */
export const probeMachine = setup({
	types: {
		input: {} as { n: number },
		context: {} as { n: number; seen: readonly number[]; waiting: readonly string[]; passed: readonly string[] },
		events: {} as ProbeRequest | ProbeFact | KernelFact,
	},
	actions: {
		...kernelEffects,
		say: effect<{ text: string }>(),
		fail: effect(),
		failLater: effect(),
		publish: effect<{ text: string }>(),
		breakContribution: effect(),
		see: assign({
			n: ({ event, context }) => (event.type === "number.seen" ? event.n : context.n),
			seen: ({ event, context }) => (event.type === "number.seen" ? [...context.seen, event.n] : context.seen),
		}),
		remember: assign({
			waiting: ({ event, context }) => ("request" in event ? [...context.waiting, event.request] : context.waiting),
		}),
		notePassed: assign({
			passed: ({ event, context }) =>
				event.type === "deadline.passed" ? [...context.passed, event.name] : context.passed,
		}),
		explode: assign(() => throws()),
	},
}).createMachine({
	id: "probe",
	initial: "idle",
	context: ({ input }) => ({ n: input.n, seen: [], waiting: [], passed: [] }),
	entry: { type: "say", params: ({ context }) => ({ text: `born ${context.n}` }) },
	on: {
		"number.seen": {
			actions: [
				"see",
				{ type: "publish", params: ({ event }) => ({ text: `seen ${event.n}` }) },
				{ type: "say", params: ({ event }) => ({ text: `seen ${event.n}` }) },
			],
		},
		echo: { actions: { type: "reply", params: ({ event }) => ({ request: event.request, value: event.text }) } },
		wait: { actions: "remember" },
		decline: {
			actions: {
				type: "refuse",
				params: ({ event }) => ({ request: event.request, code: "AlreadyExists", problem: "no, thank you" }),
			},
		},
		twice: {
			actions: [
				{ type: "reply", params: ({ event }) => ({ request: event.request, value: 1 }) },
				{ type: "reply", params: ({ event }) => ({ request: event.request, value: 2 }) },
			],
		},
		explode: { actions: "explode" },
		explodeLate: { actions: ["remember", "fail"] },
		"answer.found": {
			actions: {
				type: "reply",
				params: ({ event, context }) => ({ request: context.waiting.at(-1) ?? "", value: event.text }),
			},
		},
		"nothing.happened": {},
		"poison.taken": { actions: "explode" },
		"effect.broke": {
			actions: [{ type: "say", params: { text: "before" } }, "fail", { type: "say", params: { text: "after" } }],
		},
		"promise.broke": { actions: "failLater" },
		"contribution.broke": { actions: [{ type: "publish", params: { text: "lost" } }, "breakContribution"] },
		"loop.entered": ".looping",
		"timer.wanted": { actions: { type: "setDeadline", params: ({ event }) => ({ name: event.name, ms: event.ms }) } },
		"timer.unwanted": { actions: { type: "clearDeadline", params: ({ event }) => ({ name: event.name }) } },
		"deadline.passed": {
			actions: ["notePassed", { type: "say", params: ({ event }) => ({ text: `passed ${event.name}` }) }],
		},
		restored: { actions: { type: "say", params: ({ context }) => ({ text: `restored ${context.n}` }) } },
		"request.cancelled": { actions: { type: "say", params: ({ event }) => ({ text: `cancelled ${event.request}` }) } },
		finish: { target: ".finished", actions: { type: "reply", params: ({ event }) => ({ request: event.request }) } },
		"life.over": ".finished",
	},
	states: {
		idle: {
			on: {
				work: { target: "busy", actions: { type: "reply", params: ({ event }) => ({ request: event.request }) } },
				prepare: { target: "preparing", actions: "remember" },
				knock: {
					actions: [
						{ type: "say", params: { text: "knock" } },
						{ type: "reply", params: ({ event, context }) => ({ request: event.request, value: context.n }) },
					],
				},
			},
		},
		busy: { meta: { stash: ["knock"] }, on: { "work.done": "idle" } },
		preparing: {
			entry: { type: "say", params: { text: "preparing" } },
			meta: { volatile: true },
			on: {
				"work.done": {
					target: "busy",
					actions: { type: "reply", params: ({ context }) => ({ request: context.waiting.at(-1) ?? "" }) },
				},
			},
		},
		looping: { always: "loopingBack" },
		loopingBack: { always: "looping" },
		finished: { type: "final", entry: { type: "say", params: { text: "finished" } } },
	},
});

export type ProbeRef = RefOf<typeof probeMachine>;
export type Probe = ActorLogic<typeof probeMachine>;

/** The probe's definition; what its effects say goes to `said`. */
export function probe(
	said: string[],
	durable: boolean,
	more: Partial<ActorDefinition<typeof probeMachine>> = {},
): Probe {
	return defineActor({
		kind: "probe",
		machine: probeMachine,
		...(durable ? { durable: { schema: 1, key: ({ id }) => `v1/test/probe/${id}` } } : {}),
		...(durable
			? {
					contributions: {
						publish: (transaction, { text }) =>
							transaction.record({ kind: "event", namespace: "test", subject: "/probe", body: { text } }),
						breakContribution: throws,
					},
				}
			: {}),
		effects: {
			say: ({ text }) => void said.push(text),
			fail: throws,
			failLater: () => Promise.reject(new Error("boom later")) as unknown as undefined,
			...(durable ? {} : { publish: () => undefined, breakContribution: () => undefined }),
		},
		...more,
	});
}

export interface Stage {
	readonly clock: ManualClock;
	readonly said: string[];
	readonly system: System;
	readonly ref: ProbeRef;
}

/** One probe `a` under a root that lets it fail often. */
export async function stage(
	options: {
		readonly store?: Store;
		readonly clock?: ManualClock;
		readonly said?: string[];
		readonly definition?: Partial<ActorDefinition<typeof probeMachine>>;
		readonly supervisor?: Partial<SupervisorSpec>;
		readonly spec?: Partial<ActorChildSpec>;
	} = {},
): Promise<Stage> {
	const { store, clock = manualClock(), said = [] } = options;
	const logic = probe(said, store !== undefined, options.definition);
	const system = await startSystem({
		clock,
		random: () => 0,
		...(store === undefined ? {} : { store }),
		root: {
			strategy: "one_for_one",
			intensity: 100,
			children: [{ ...child({ id: "a", logic, input: { n: 0 } }), ...options.spec }],
			...options.supervisor,
		},
	});
	return { clock, said, system, ref: system.find<ProbeRef>("/a") as ProbeRef };
}

/** The rejection of a promise, which must reject. */
export const rejection = (promise: Promise<unknown>): Promise<Error & { code?: string }> =>
	promise.then(
		() => {
			throw new Error("was expected to reject");
		},
		(error: Error) => error,
	);
