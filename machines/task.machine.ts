import { assign, setup } from "xstate";
import { effect, type KernelFact, kernelEffects, type Refusal } from "./effect.ts";
import { type Exit, exitFrom, overtakenAnswers } from "./process-facts.ts";
import {
	type PassedRequest,
	type TaskContext,
	type TaskFact,
	type TaskInput,
	type TaskRequest,
	taskLimits,
} from "./task-messages.ts";

type Deadline = keyof typeof taskLimits;
type Now = { context: TaskContext };
type Given<Event> = { context: TaskContext; event: Event };

const wait = (name: Deadline) => ({ type: "setDeadline", params: { name, ms: taskLimits[name] } }) as const;
const waited = (name: Deadline) => ({ type: "clearDeadline", params: { name } }) as const;
const passes = (name: Deadline) =>
	({ type: "isDeadline", params: ({ event }: Given<{ name: string }>) => ({ name, passed: event.name }) }) as const;

const lost: Refusal = { code: "Unavailable", problem: "its shim was lost" };
const restarted: Refusal = { code: "Unavailable", problem: "the daemon was restarted" };
const finished: Refusal = { code: "NotFound", problem: "process already finished" };
const withdrawn: Refusal = { code: "Canceled", problem: "the caller has gone" };
const tooLate = (what: string): Refusal => ({
	code: "DeadlineExceeded",
	problem: `the shim did not ${what} it in time`,
});

const replyPid = {
	type: "reply",
	params: ({ context: { asked, pid } }: Now) => ({ request: asked, value: { pid } }),
} as const;
const replyYes = {
	type: "reply",
	params: ({ event }: Given<{ request: string }>) => ({ request: event.request }),
} as const;
/** The creator's own question, overtaken by the answer. */
const replyCreated = {
	type: "reply",
	params: ({ context: { pid }, event }: Given<{ request: string }>) => ({ request: event.request, value: { pid } }),
} as const;
const replyAsked = { type: "reply", params: ({ context }: Now) => ({ request: context.asked }) } as const;
const replyExit = {
	type: "reply",
	params: ({ context, event }: Given<{ request: string }>) => ({ request: event.request, value: exitOf(context) }),
} as const;
const refuseAsked = (refusal: Refusal) =>
	({ type: "refuse", params: ({ context }: Now) => ({ request: context.asked, ...refusal }) }) as const;
/** In the words of the event. */
const refuseAsTold = {
	type: "refuse",
	params: ({ context: { asked }, event: { code, problem } }: Given<Refusal>) => ({ request: asked, code, problem }),
} as const;

const pidOf = ({ context: { pid } }: Now) => ({ pid });
const exitOf = ({ exit }: TaskContext) => ({
	pid: exit?.pid ?? 0,
	exitStatus: exit?.exitStatus ?? 255,
	exitedAt: exit?.exitedAt ?? 0n,
	...(exit?.unknown === true ? { unknown: true } : {}),
});
const publishExit = { type: "publishExit", params: ({ context }: Now) => exitOf(context) } as const;
const tellsStart = ["noteStarted", { type: "publishStart", params: pidOf }] as const;
const watch = { type: "watchInit", params: pidOf } as const;
const noteExit = { type: "noteExit", params: ({ event }: Given<Exit>) => event } as const;
const noteEarly = { type: "noteEarly", params: ({ event }: Given<Exit>) => event } as const;
const noteWitnessed = { type: "noteWitnessed", params: ({ event }: Given<Exit>) => event } as const;
const noteAsked = { type: "noteAsked", params: ({ event }: Given<{ request: string }>) => event } as const;
const noteShim = { type: "noteShim", params: ({ event }: Given<{ shim: string }>) => event } as const;
const noteRefusal = { type: "noteRefusal", params: ({ event }: Given<Refusal>) => event } as const;
const noteVanished = { type: "noteVanished", params: ({ event }: Given<Exit>) => event } as const;
const isVanished = { type: "isVanished", params: ({ event }: Given<Exit>) => event } as const;
const isVanishedButSeen = { type: "isVanishedButSeen", params: ({ event }: Given<Exit>) => event } as const;
const isKnownExit = {
	type: "isKnownExit",
	params: ({ event }: Given<Exit & { known: boolean }>) => event,
} as const;
/** What starts from a checkpoint has no process before its start: until then the pid is 0. */
const notePid = { type: "notePid", params: ({ event }: Given<{ pid: number }>) => event } as const;
const isInit = { type: "isInit", params: ({ event }: Given<Exit>) => event } as const;

/** The init has ended. */
const ended = { guard: isInit, target: "stopped", actions: [noteExit, publishExit] } as const;
/** As `ended`; but a shim that does not know how asks whether the daemon's own pidfd does. */
const endsWith = <More extends readonly object[]>(...more: More) =>
	[
		{ guard: isVanishedButSeen, target: "stopped", actions: ["takeWitnessed", publishExit, ...more] },
		{ guard: isVanished, target: "vanished", actions: [noteVanished, ...more] },
		{ ...ended, actions: [...ended.actions, ...more] },
	] as const;
const ends = endsWith();
/** It had ended before an answer that had to come first. */
const endedEarly = { guard: "endedEarly", target: "stopped", actions: ["takeEarly", publishExit] } as const;
/** The shim is gone and has taken its container with it. */
const endsWithShim = {
	target: "stopped",
	actions: [
		{
			type: "noteExit",
			params: ({ context: { pid }, event }: Given<Omit<Exit, "pid">>) => ({ ...event, pid }),
		},
		publishExit,
	],
} as const;
/** No shim can be asked, and the daemon's own pidfd knew the status. */
const endsByWitness = {
	guard: isKnownExit,
	target: "stopped",
	actions: [noteExit, publishExit],
} as const;
/** The container is no more and nobody saw its end: 255, not invented but the word for unknown. */
const endsUnseen = {
	target: "stopped",
	actions: [
		{
			type: "noteExit",
			params: ({ context: { pid }, event: { exitedAt } }: Given<{ exitedAt: bigint }>) => ({
				pid,
				exitStatus: 255,
				exitedAt,
				unknown: true,
			}),
		},
		publishExit,
	],
} as const;
/** Nobody knew: said as it is. */
const endsVanished = { target: "stopped", actions: ["takeVanished", publishExit] } as const;
/** The shim should have told this exit by now: ask it. */
const witnessedFirst = [
	{ guard: isKnownExit, target: "reconciling", actions: noteWitnessed },
	{ guard: isInit, target: "reconciling" },
] as const;
const pass = { actions: { type: "passToShim", params: ({ event }: Given<PassedRequest>) => event } } as const;
const held = ["pause", "resume", "delete", "wait", "checkpoint", "exec"] as const;

/**
 * One task: a container's life from the runtime's create to its delete. States: OCI runtime-spec, "State", and those in
 * which the daemon waits for a shim. A task that was created is told to have exited exactly once: not before its start is
 * told, and before its delete is.
 */
export const taskMachine = setup({
	types: {
		input: {} as TaskInput,
		context: {} as TaskContext,
		events: {} as TaskRequest | TaskFact | KernelFact,
		// requests held until the state changes; whether the state before says enough after a restart
		meta: {} as { stash?: readonly TaskRequest["type"][]; volatile?: boolean },
	},
	guards: {
		isDeadline: (_, { name, passed }: { name: Deadline; passed: string }) => name === passed,
		isAsked: ({ context }, { request }: { request: string }) => request === context.asked,
		isInit: ({ context }, { pid }: { pid: number }) => pid === context.pid && pid !== 0,
		mayBeInit: ({ context }, { pid }: { pid: number }) => pid === context.pid || context.pid === 0,
		hasLivingInit: ({ context: { pid, exit } }) => pid !== 0 && exit === undefined,
		isWithoutPid: ({ context }) => context.pid === 0,
		isKnownExit: ({ context }, { pid, known }: { pid: number; known: boolean }) => known && pid === context.pid,
		isVanished: ({ context }, { pid, unknown }: Exit) => unknown === true && pid === context.pid && pid !== 0,
		isVanishedButSeen: ({ context }, { pid, unknown }: Exit) =>
			unknown === true && pid === context.pid && context.witnessed !== undefined,
		endedEarly: ({ context }) => context.early.some(({ pid }) => pid === context.pid),
		hasWitness: ({ context }) => context.witnessed !== undefined,
		isElsewhere: ({ context }, { shim }: { shim: string }) => shim !== context.shim,
		hasStarted: ({ context }) => context.started,
		isNewOom: ({ context }, { at }: { at: bigint }) => context.pid !== 0 && at > context.oomAt,
	},
	actions: {
		...kernelEffects,
		/** Writes the bundle, finds or starts a shim, has the runtime create: `shim.created`, `.refused` or `.silent`. */
		askShimToCreate: effect(),
		/** Undoes a creation as far as it came: container, root mount, bundle. `task.discarded`. */
		discardTask: effect(),
		askShimToStart: effect(),
		askShimToPause: effect(),
		askShimToResume: effect(),
		askShimToKill: effect(),
		/** Then removes the bundle. A shim that does not know the container has deleted it. */
		askShimToDelete: effect(),
		askShimForState: effect(),
		/** Answered by `call.answered`, `call.refused` or `task.checkpointed`. */
		passToShim: effect<PassedRequest>(),
		/** Holds a pidfd of the init, to be its witness. */
		watchInit: effect<{ pid: number }>(),
		/** After a restart: holds a pidfd again as soon as it is sure whose it is, whether a shim lives or not. */
		watchAgain: effect(),
		/** No shim can tell: the witness tells at once what it knows. */
		hurryWitness: effect(),
		/** Tells the exec'd processes that their container is no more. */
		endProcesses: effect(),
		publishCreate: effect<{ pid: number }>(),
		publishStart: effect<{ pid: number }>(),
		publishExit: effect<Exit>(),
		publishDelete: effect<Exit>(),
		publishPaused: effect(),
		publishResumed: effect(),
		publishCheckpointed: effect<{ path: string }>(),
		publishOom: effect(),
		publishStdioLost: effect<{ lost: readonly string[] }>(),
		noteAsked: assign((_, { request }: { request: string }) => ({ asked: request })),
		noteCreated: assign(({ context: { early } }, { pid, shim }: { pid: number; shim: string }) => ({
			pid,
			shim,
			early: early.filter((exit) => exit.pid === pid),
		})),
		noteShim: assign((_, { shim }: { shim: string }) => ({ shim })),
		noteStarted: assign({ started: true }),
		notePid: assign((_, { pid }: { pid: number }) => ({ pid })),
		noteExit: assign((_, exit: Exit) => ({ exit: exitFrom(exit) })),
		noteVanished: assign((_, exit: Exit) => ({ vanished: exitFrom(exit) })),
		takeVanished: assign(({ context }) => ({ exit: context.vanished })),
		/** By pid, the newest 16: an old container of this id may still be repeating its exit. */
		noteEarly: assign(({ context }, exit: Exit) => ({
			early: [...context.early.filter(({ pid }) => pid !== exit.pid), exitFrom(exit)].slice(-16),
		})),
		takeEarly: assign(({ context }) => ({ exit: context.early.find((exit) => exit.pid === context.pid), early: [] })),
		noteWitnessed: assign((_, exit: Exit) => ({ witnessed: exitFrom(exit) })),
		takeWitnessed: assign(({ context }) => ({ exit: context.witnessed })),
		noteOom: assign((_, { at }: { at: bigint }) => ({ oomAt: at })),
		noteRefusal: assign((_, { code, problem }: Refusal) => ({ refusal: { code, problem } })),
	},
}).createMachine({
	id: "task",
	initial: "creating",
	context: ({ input }) => ({ ...input, shim: "", pid: 0, started: false, early: [], oomAt: 0n, asked: "" }),
	on: {
		"process.exited": {}, // a repeated exit, or one of an older container of this id, changes nothing
		"witness.exited": { guard: isKnownExit, actions: noteWitnessed },
		"witness.saw": { guard: isKnownExit, actions: noteWitnessed },
		"process.oomed": [
			{
				guard: { type: "isNewOom", params: ({ event }) => event },
				actions: [{ type: "noteOom", params: ({ event }) => event }, "publishOom"],
			},
			{},
		],
		"shim.lost": {},
		"shim.adopted": [
			{ guard: { type: "isElsewhere", params: ({ event }) => event }, actions: noteShim },
			{}, // the same shim, reached again
		],
		"stdio.lost": [
			{ guard: "hasLivingInit", actions: { type: "publishStdioLost", params: ({ event }) => event } },
			{}, // whose stdio it was has ended
		],
		"shim.buried": {},
		"call.answered": { actions: { type: "reply", params: ({ event }) => ({ request: event.call }) } },
		"call.refused": {
			actions: {
				type: "refuse",
				params: ({ event: { call, code, problem } }) => ({ request: call, code, problem }),
			},
		},
		"task.checkpointed": {
			actions: [
				{ type: "publishCheckpointed", params: ({ event }) => event },
				{ type: "reply", params: ({ event }) => ({ request: event.call }) },
			],
		},
		"request.cancelled": {}, // what was asked for goes on; only a creation is undone
	},
	states: {
		/** Asked to exist. `create` is answered when it does, or when nothing is left of the attempt. */
		creating: {
			entry: ["askShimToCreate", wait("create")],
			exit: waited("create"),
			meta: { stash: ["start", "kill", "delete", "wait"] },
			on: {
				create: { actions: noteAsked },
				"shim.created": {
					target: "created",
					actions: [
						{ type: "noteCreated", params: ({ event }) => event },
						{ type: "publishCreate", params: pidOf },
						watch,
						replyPid,
					],
				},
				"shim.refused": { target: "discarding", actions: noteRefusal },
				"shim.silent": { target: "discarding", actions: noteRefusal },
				"process.exited": { actions: noteEarly }, // kept: its pid is not known yet
				"shim.lost": { target: "discarding", actions: { type: "noteRefusal", params: lost } },
				"request.cancelled": {
					guard: { type: "isAsked", params: ({ event }) => event },
					target: "discarding",
					actions: { type: "noteRefusal", params: withdrawn },
				},
				"deadline.passed": {
					guard: passes("create"),
					target: "discarding",
					actions: { type: "noteRefusal", params: tooLate("create") },
				},
				restored: { target: "discarding", actions: { type: "noteRefusal", params: restarted } },
			},
		},
		/** The caller hears of the failure when nothing is left of the attempt, so that the next one finds clean ground. */
		discarding: {
			entry: ["discardTask", wait("discard")],
			exit: waited("discard"),
			on: {
				create: { actions: noteAsked },
				"task.discarded": "failed",
				"deadline.passed": { guard: passes("discard"), target: "failed" },
				restored: { target: "discarding", reenter: true },
			},
		},
		created: {
			meta: { stash: ["wait"] },
			always: endedEarly,
			on: {
				create: { actions: replyCreated },
				start: { target: "starting", actions: noteAsked },
				delete: { target: "scrapping", actions: noteAsked },
				exec: { actions: replyYes },
				kill: pass,
				resizePty: pass,
				closeIo: pass,
				update: pass,
				"process.exited": ends,
				"witness.exited": witnessedFirst,
				"shim.lost": "shimLost",
				"shim.buried": endsWithShim,
				restored: "reconciling",
			},
		},
		starting: {
			entry: ["askShimToStart", wait("start")],
			exit: waited("start"),
			meta: { stash: [...held, "kill", "resizePty", "closeIo", "update"], volatile: true },
			on: {
				"process.exited": {
					guard: { type: "mayBeInit", params: ({ event }) => event },
					actions: noteEarly, // kept: the start is told first
				},
				"shim.started": [
					{ guard: "isWithoutPid", target: "running", actions: [notePid, ...tellsStart, watch, replyPid] },
					{ target: "running", actions: [...tellsStart, replyPid] },
				],
				"shim.refused": { target: "created", actions: refuseAsTold },
				"shim.silent": { target: "reconciling", actions: refuseAsTold },
				"deadline.passed": {
					guard: passes("start"),
					target: "reconciling",
					actions: refuseAsked(tooLate("start")),
				},
				"shim.lost": { target: "shimLost", actions: refuseAsked(lost) },
				"shim.buried": { ...endsWithShim, actions: [...endsWithShim.actions, refuseAsked(lost)] },
				restored: { target: "reconciling", actions: refuseAsked(restarted) },
			},
		},
		running: {
			meta: { stash: ["wait"] },
			always: endedEarly,
			on: {
				pause: { target: "pausing", actions: noteAsked },
				exec: { actions: replyYes },
				kill: pass,
				resizePty: pass,
				closeIo: pass,
				update: pass,
				checkpoint: pass,
				"process.exited": ends,
				"witness.exited": witnessedFirst,
				"shim.lost": "shimLost",
				"shim.buried": endsWithShim,
				restored: "reconciling",
			},
		},
		pausing: {
			entry: ["askShimToPause", wait("pause")],
			exit: waited("pause"),
			meta: { stash: held },
			on: {
				kill: pass,
				"shim.paused": { target: "paused", actions: ["publishPaused", replyAsked] },
				"shim.refused": { target: "running", actions: refuseAsTold },
				"shim.silent": { target: "reconciling", actions: refuseAsTold },
				"deadline.passed": {
					guard: passes("pause"),
					target: "reconciling",
					actions: refuseAsked(tooLate("pause")),
				},
				"process.exited": endsWith(refuseAsked(finished)),
				"shim.lost": { target: "shimLost", actions: refuseAsked(lost) },
				"shim.buried": { ...endsWithShim, actions: [...endsWithShim.actions, refuseAsked(lost)] },
				restored: { target: "reconciling", actions: refuseAsked(restarted) },
			},
		},
		paused: {
			meta: { stash: ["wait"] },
			on: {
				resume: { target: "resuming", actions: noteAsked },
				kill: pass,
				resizePty: pass,
				closeIo: pass,
				update: pass,
				checkpoint: pass,
				"process.exited": ends,
				"witness.exited": witnessedFirst,
				"shim.lost": "shimLost",
				"shim.buried": endsWithShim,
				restored: "reconciling",
			},
		},
		resuming: {
			entry: ["askShimToResume", wait("pause")],
			exit: waited("pause"),
			meta: { stash: held },
			on: {
				kill: pass,
				"shim.resumed": { target: "running", actions: ["publishResumed", replyAsked] },
				"shim.refused": { target: "paused", actions: refuseAsTold },
				"shim.silent": { target: "reconciling", actions: refuseAsTold },
				"deadline.passed": {
					guard: passes("pause"),
					target: "reconciling",
					actions: refuseAsked(tooLate("resume")),
				},
				"process.exited": endsWith(refuseAsked(finished)),
				"shim.lost": { target: "shimLost", actions: refuseAsked(lost) },
				"shim.buried": { ...endsWithShim, actions: [...endsWithShim.actions, refuseAsked(lost)] },
				restored: { target: "reconciling", actions: refuseAsked(restarted) },
			},
		},
		/** A created container is deleted: its init, which never ran its program, is killed, and its exit is told like any. */
		scrapping: {
			entry: ["askShimToKill", wait("kill")],
			exit: waited("kill"),
			meta: { stash: [...held, "kill"] },
			on: {
				"process.exited": { ...ended, target: "deleting" },
				"shim.refused": { target: "reconciling", actions: refuseAsTold },
				"shim.silent": { target: "reconciling", actions: refuseAsTold },
				"deadline.passed": {
					guard: passes("kill"),
					target: "reconciling",
					actions: refuseAsked(tooLate("kill")),
				},
				"shim.lost": { target: "shimLost", actions: refuseAsked(lost) },
				"shim.buried": { ...endsWithShim, target: "deleting" },
				restored: { target: "reconciling", actions: refuseAsked(restarted) },
			},
		},
		stopped: {
			on: {
				create: { actions: replyCreated },
				delete: { target: "deleting", actions: noteAsked },
				wait: { actions: replyExit },
				...overtakenAnswers,
				"witness.exited": {},
				"witness.saw": {},
			},
		},
		deleting: {
			entry: ["askShimToDelete", wait("delete")],
			exit: waited("delete"),
			meta: { stash: ["delete"], volatile: true },
			on: {
				wait: { actions: replyExit },
				"shim.deleted": {
					target: "deleted",
					actions: [
						{ type: "publishDelete", params: ({ context }) => exitOf(context) },
						"endProcesses",
						{ type: "reply", params: ({ context }) => ({ request: context.asked, value: exitOf(context) }) },
					],
				},
				"shim.refused": { target: "stopped", actions: refuseAsTold },
				"shim.silent": { target: "stopped", actions: refuseAsTold },
				"deadline.passed": { guard: passes("delete"), target: "stopped", actions: refuseAsked(tooLate("delete")) },
				restored: { target: "stopped", actions: refuseAsked(restarted) },
			},
		},
		/** No shim holds the container, which lives on. Requests are held until one has adopted it. */
		shimLost: {
			entry: wait("adoption"),
			exit: waited("adoption"),
			meta: { stash: [...held, "start", "kill", "resizePty", "closeIo", "update"] },
			always: endedEarly,
			on: {
				"shim.adopted": { target: "reconciling", actions: noteShim },
				"process.exited": ends,
				"witness.exited": endsByWitness,
				"shim.buried": endsWithShim,
				"deadline.passed": { guard: passes("adoption"), target: "unknown" },
				restored: "reconciling",
			},
		},
		/** The shim is asked what became of the container: after a restart, an adoption, an answer that did not come. */
		reconciling: {
			entry: ["watchAgain", "askShimForState", wait("reconcile")],
			exit: waited("reconcile"),
			meta: { stash: [...held, "start", "kill", "resizePty", "closeIo", "update"] },
			always: endedEarly,
			on: {
				"state.created": [
					{ guard: "hasStarted", target: "unknown" }, // it cannot have become unstarted
					{ target: "created", actions: watch },
				],
				"state.running": [
					{ guard: "hasStarted", target: "running", actions: watch },
					{ guard: "isWithoutPid", target: "running", actions: [notePid, ...tellsStart, watch] },
					{ target: "running", actions: [...tellsStart, watch] },
				],
				"state.paused": [
					{ guard: "hasStarted", target: "paused", actions: watch },
					{ target: "paused", actions: [...tellsStart, watch] },
				],
				"state.stopped": [
					...ends,
					{ guard: "isWithoutPid", target: "stopped", actions: [notePid, noteExit, publishExit] },
				],
				"state.absent": [
					{ guard: "hasWitness", target: "stopped", actions: ["takeWitnessed", publishExit] },
					endsUnseen,
				],
				"state.silent": "unknown",
				"deadline.passed": { guard: passes("reconcile"), target: "unknown" },
				"process.exited": ends,
				"shim.adopted": { target: "reconciling", reenter: true, actions: noteShim },
				"shim.lost": "shimLost",
				"shim.buried": endsWithShim,
				restored: { target: "reconciling", reenter: true },
			},
		},
		/** No shim knows how the init has ended. The daemon's own pidfd may: it tells some time after an exit. */
		vanished: {
			entry: ["hurryWitness", wait("witness")],
			exit: waited("witness"),
			meta: { stash: [...held, "start", "kill", "resizePty", "closeIo", "update"] },
			on: {
				"witness.exited": [endsByWitness, { guard: isInit, ...endsVanished }],
				"deadline.passed": { guard: passes("witness"), ...endsVanished },
				"process.exited": [{ guard: isVanished }, ended],
				"shim.buried": {},
				...overtakenAnswers,
				restored: endsVanished,
			},
		},
		/** Nobody can say. Requests are refused, and the shim is asked again and again. */
		unknown: {
			entry: wait("again"),
			exit: waited("again"),
			meta: { stash: ["wait"] },
			on: {
				"deadline.passed": { guard: passes("again"), target: "reconciling" },
				"shim.adopted": { target: "reconciling", actions: noteShim },
				"process.exited": ends,
				"witness.exited": endsByWitness,
				"shim.buried": endsWithShim,
				restored: "reconciling",
			},
		},
		deleted: { type: "final" },
		failed: {
			type: "final",
			entry: {
				type: "refuse",
				params: ({ context: { asked, refusal } }) => ({ request: asked, ...(refusal ?? restarted) }),
			},
		},
	},
});
