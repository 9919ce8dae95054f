import { assign, setup } from "xstate";
import { effect, type KernelFact, kernelEffects, type Refusal } from "./effect.ts";
import {
	type Exit,
	exitFrom,
	overtakenAnswers,
	type ProcessFact,
	type ShimFact,
	type StateFact,
} from "./process-facts.ts";

export interface ProcessInput {
	readonly namespace: string;
	/** The container's id. */
	readonly id: string;
	readonly execId: string;
	readonly stdin: string;
	readonly stdout: string;
	readonly stderr: string;
	readonly terminal: boolean;
}

export interface ProcessContext extends ProcessInput {
	/** 0 until it is started. */
	readonly pid: number;
	readonly started: boolean;
	/** The exit, once it is told. */
	readonly exit?: Exit | undefined;
	/** Exits that came before the pid was known. */
	readonly early: readonly Exit[];
	readonly witnessed?: Exit | undefined;
	/** The exit that no shim knows the status of, while the witness is waited for. */
	readonly vanished?: Exit | undefined;
	/** When the container ended, if it is no more. */
	readonly goneAt: bigint;
	/** The request that the present state serves. */
	readonly asked: string;
	readonly refusal?: Refusal | undefined;
}

export type PassedProcessRequest =
	| { type: "kill"; request: string; signal: number; all: boolean }
	| { type: "resizePty"; request: string; width: number; height: number }
	| { type: "closeIo"; request: string; stdin: boolean };

export type ProcessRequest = { type: "add" | "start" | "delete" | "wait"; request: string } | PassedProcessRequest;

export type ExecFact =
	| ProcessFact
	| ShimFact
	| StateFact
	| { type: "shim.added" }
	| { type: "shim.started"; pid: number }
	| { type: "shim.deleted" }
	/** It answered with an error: nothing has changed. */
	| ({ type: "shim.refused" } & Refusal)
	/** No answer: what it did is unknown. */
	| ({ type: "shim.silent" } & Refusal)
	| { type: "process.discarded" }
	/** The container is no more: nothing runs in it since `exitedAt`. */
	| { type: "task.deleted"; exitedAt: bigint }
	| { type: "call.answered"; call: string }
	| ({ type: "call.refused"; call: string } & Refusal);

/** How long each wait lasts at most, in milliseconds. Calls to a shim end earlier by themselves. */
export const processLimits = {
	add: 30_000,
	discard: 30_000,
	start: 60_000,
	delete: 30_000,
	reconcile: 10_000,
	adoption: 60_000,
	/** How long the daemon's own pidfd may take to tell an exit that no shim knows. */
	witness: 5_000,
	again: 15_000,
	/** The shim tells the exit of what died with its container before it forgets the container. */
	orphan: 10_000,
	/** How long the exit of an orphan can be asked for. */
	ended: 5_000,
} as const;

type Deadline = keyof typeof processLimits;
type Now = { context: ProcessContext };
type Given<Event> = { context: ProcessContext; event: Event };

const wait = (name: Deadline) => ({ type: "setDeadline", params: { name, ms: processLimits[name] } }) as const;
const waited = (name: Deadline) => ({ type: "clearDeadline", params: { name } }) as const;
const passes = (name: Deadline) =>
	({ type: "isDeadline", params: ({ event }: Given<{ name: string }>) => ({ name, passed: event.name }) }) as const;

const lost: Refusal = { code: "Unavailable", problem: "its shim was lost" };
const restarted: Refusal = { code: "Unavailable", problem: "the daemon was restarted" };
const gone: Refusal = { code: "NotFound", problem: "its container was deleted" };
const withdrawn: Refusal = { code: "Canceled", problem: "the caller has gone" };
const tooLate = (what: string): Refusal => ({
	code: "DeadlineExceeded",
	problem: `the shim did not ${what} it in time`,
});

const pidOf = ({ context: { pid } }: Now) => ({ pid });
/** All zero for a process that was never started. */
const exitOf = ({ exit }: ProcessContext) => ({
	pid: exit?.pid ?? 0,
	exitStatus: exit?.exitStatus ?? 0,
	exitedAt: exit?.exitedAt ?? 0n,
	...(exit?.unknown === true ? { unknown: true } : {}),
});
const replyAsked = { type: "reply", params: ({ context }: Now) => ({ request: context.asked }) } as const;
const replyPid = {
	type: "reply",
	params: ({ context: { asked, pid } }: Now) => ({ request: asked, value: { pid } }),
} as const;
const replyExit = {
	type: "reply",
	params: ({ context, event }: Given<{ request: string }>) => ({ request: event.request, value: exitOf(context) }),
} as const;
const replyDeleted = {
	type: "reply",
	params: ({ context }: Now) => ({ request: context.asked, value: exitOf(context) }),
} as const;
const refuseAsked = (refusal: Refusal) =>
	({ type: "refuse", params: ({ context }: Now) => ({ request: context.asked, ...refusal }) }) as const;
const refuseAsTold = {
	type: "refuse",
	params: ({ context: { asked }, event: { code, problem } }: Given<Refusal>) => ({ request: asked, code, problem }),
} as const;
const noteRefusal = { type: "noteRefusal", params: ({ event }: Given<Refusal>) => event } as const;
const noteAsked = { type: "noteAsked", params: ({ event }: Given<{ request: string }>) => event } as const;
const notePid = { type: "notePid", params: ({ event }: Given<{ pid: number }>) => event } as const;
const noteEarly = { type: "noteEarly", params: ({ event }: Given<Exit>) => event } as const;
const noteExit = { type: "noteExit", params: ({ event }: Given<Exit>) => event } as const;
const noteWitnessed = { type: "noteWitnessed", params: ({ event }: Given<Exit>) => event } as const;
const noteGone = { type: "noteGone", params: ({ event }: Given<{ exitedAt: bigint }>) => event } as const;
const publishExit = { type: "publishExit", params: ({ context }: Now) => exitOf(context) } as const;
const tellsStart = ["noteStarted", { type: "publishStarted", params: pidOf }] as const;
const watch = { type: "watchProcess", params: pidOf } as const;
const isOwn = { type: "isOwn", params: ({ event }: Given<Exit>) => event } as const;
const mayBeOwnAndStarted = { type: "mayBeOwnAndStarted", params: ({ event }: Given<Exit>) => event } as const;
const isKnownExit = {
	type: "isKnownExit",
	params: ({ event }: Given<Exit & { known: boolean }>) => event,
} as const;
const isVanished = { type: "isVanished", params: ({ event }: Given<Exit>) => event } as const;
const isVanishedButSeen = { type: "isVanishedButSeen", params: ({ event }: Given<Exit>) => event } as const;
const noteVanished = { type: "noteVanished", params: ({ event }: Given<Exit>) => event } as const;
/** Where the answer to `start` was lost, the pid is not known: any exit of this exec id is its own. */
const mayBeOwn = { type: "mayBeOwn", params: ({ event }: Given<Exit>) => event } as const;

type Place = "stopped" | "ended";
/** A shim does not know how it ended: the daemon's own pidfd may. */
const vanishes = [
	{ guard: isVanishedButSeen, target: "stopped", actions: ["takeWitnessed", publishExit] },
	{ guard: isVanished, target: "vanished", actions: noteVanished },
] as const;
const ended = { guard: isOwn, target: "stopped", actions: [noteExit, publishExit] } as const;
const ends = [...vanishes, ended] as const;
/** Where its start was not told, because its answer was lost, the exit shows that it was started. */
const endsPerhaps = <Target extends Place>(target: Target) =>
	[
		{ guard: mayBeOwnAndStarted, target, actions: [noteExit, publishExit] },
		{ guard: mayBeOwn, target, actions: [notePid, ...tellsStart, noteExit, publishExit] },
	] as const;
/** It had ended before an answer that had to come first. */
const endedEarly = <Target extends Place>(target: Target) =>
	[
		{ guard: "endedEarlyAndStarted", target, actions: ["takeEarly", publishExit] },
		{ guard: "endedEarly", target, actions: ["noteEarlyPid", ...tellsStart, "takeEarly", publishExit] },
	] as const;
/** Nobody knew: said as it is. */
const endsVanished = { target: "stopped", actions: ["takeVanished", publishExit] } as const;
const noteUnseen = {
	type: "noteExit",
	params: ({ context: { pid }, event: { exitedAt } }: Given<{ exitedAt: bigint }>) => ({
		pid,
		exitStatus: 255,
		exitedAt,
		unknown: true,
	}),
} as const;
const noteBuried = {
	type: "noteExit",
	params: ({ context: { pid }, event }: Given<Omit<Exit, "pid">>) => ({ ...event, pid }),
} as const;
const endsWithShim = { target: "stopped", actions: [noteBuried, publishExit] } as const;
const endsByWitness = {
	guard: isKnownExit,
	target: "stopped",
	actions: [noteExit, publishExit],
} as const;
const pass = { actions: { type: "passToShim", params: ({ event }: Given<PassedProcessRequest>) => event } } as const;
const held = ["start", "kill", "delete", "wait", "resizePty", "closeIo"] as const;

/** A process that exec adds to a running container. One that was started is told to have exited exactly once. */
export const processMachine = setup({
	types: {
		input: {} as ProcessInput,
		context: {} as ProcessContext,
		events: {} as ProcessRequest | ExecFact | KernelFact,
		meta: {} as { stash?: readonly ProcessRequest["type"][] }, // requests held until the state changes
	},
	guards: {
		isDeadline: (_, { name, passed }: { name: Deadline; passed: string }) => name === passed,
		isAsked: ({ context }, { request }: { request: string }) => request === context.asked,
		isOwn: ({ context }, { pid }: { pid: number }) => pid === context.pid && pid !== 0,
		mayBeOwn: ({ context }, { pid }: { pid: number }) => pid === context.pid || context.pid === 0,
		mayBeOwnAndStarted: ({ context }, { pid }: { pid: number }) => context.started && pid === context.pid,
		isVanished: ({ context }, { pid, unknown }: Exit) => unknown === true && pid === context.pid && pid !== 0,
		isVanishedButSeen: ({ context }, { pid, unknown }: Exit) =>
			unknown === true && pid === context.pid && context.witnessed !== undefined,
		isKnownExit: ({ context }, { pid, known }: { pid: number; known: boolean }) => known && pid === context.pid,
		endedEarly: ({ context }) => context.early.some(({ pid }) => pid === context.pid || context.pid === 0),
		endedEarlyAndStarted: ({ context }) => context.started && context.early.some(({ pid }) => pid === context.pid),
		hasExited: ({ context }) => context.exit !== undefined,
		hasStarted: ({ context }) => context.started,
		wasRunning: ({ context }, { name, passed }: { name: Deadline; passed: string }) =>
			context.started && name === passed,
		hasWitness: ({ context }) => context.witnessed !== undefined,
	},
	actions: {
		...kernelEffects,
		askShimToAdd: effect(),
		/** Undoes an addition that failed. `process.discarded`. */
		discardProcess: effect(),
		askShimToStart: effect(),
		/** A shim that does not know the process has deleted it. */
		askShimToDelete: effect(),
		askShimForState: effect(),
		/** Answered by `call.answered` or `call.refused`. */
		passToShim: effect<PassedProcessRequest>(),
		/** Holds a pidfd of the process, to be its witness. */
		watchProcess: effect<{ pid: number }>(),
		/** After a restart: holds a pidfd again as soon as it is sure whose it is, whether a shim lives or not. */
		watchAgain: effect(),
		/** No shim can tell: the witness tells at once what it knows. */
		hurryWitness: effect(),
		publishAdded: effect(),
		publishStarted: effect<{ pid: number }>(),
		publishExit: effect<Exit>(),
		noteAsked: assign((_, { request }: { request: string }) => ({ asked: request })),
		notePid: assign((_, { pid }: { pid: number }) => ({ pid })),
		noteStarted: assign({ started: true }),
		noteExit: assign((_, exit: Exit) => ({ exit: exitFrom(exit), early: [] })),
		noteVanished: assign((_, exit: Exit) => ({ vanished: exitFrom(exit) })),
		takeVanished: assign(({ context }) => ({ exit: context.vanished })),
		noteEarlyPid: assign(({ context: { early, pid } }) => ({ pid: pid === 0 ? (early.at(-1)?.pid ?? 0) : pid })),
		/** By pid, the newest 16: an old process of this exec id may still be repeating its exit. */
		noteEarly: assign(({ context }, exit: Exit) => ({
			early: [...context.early.filter(({ pid }) => pid !== exit.pid), exitFrom(exit)].slice(-16),
		})),
		takeEarly: assign(({ context: { early, pid } }) => ({
			exit: early.findLast((exit) => exit.pid === pid || pid === 0),
			early: [],
		})),
		noteGoneExit: assign(({ context: { pid, goneAt } }) => ({
			exit: { pid, exitStatus: 255, exitedAt: goneAt, unknown: true },
		})),
		noteGone: assign((_, { exitedAt }: { exitedAt: bigint }) => ({ goneAt: exitedAt })),
		noteWitnessed: assign((_, exit: Exit) => ({ witnessed: exitFrom(exit) })),
		takeWitnessed: assign(({ context }) => ({ exit: context.witnessed })),
		noteRefusal: assign((_, { code, problem }: Refusal) => ({ refusal: { code, problem } })),
	},
}).createMachine({
	id: "process",
	initial: "adding",
	context: ({ input }) => ({ ...input, pid: 0, started: false, early: [], goneAt: 0n, asked: "" }),
	on: {
		"process.exited": {}, // a repeated exit, or one of an older process of this exec id, changes nothing
		"witness.exited": { guard: isKnownExit, actions: noteWitnessed },
		"witness.saw": { guard: isKnownExit, actions: noteWitnessed },
		"shim.lost": {},
		"shim.adopted": {},
		"stdio.lost": {}, // its task tells, for all of its processes
		"shim.buried": {},
		"call.answered": { actions: { type: "reply", params: ({ event }) => ({ request: event.call }) } },
		"call.refused": {
			actions: {
				type: "refuse",
				params: ({ event: { call, code, problem } }) => ({ request: call, code, problem }),
			},
		},
		"request.cancelled": {},
		"task.deleted": { target: ".orphaned", actions: noteGone },
	},
	states: {
		/** Asked to exist. `add` is answered when it does, or when nothing is left of the attempt. */
		adding: {
			entry: ["askShimToAdd", wait("add")],
			exit: waited("add"),
			meta: { stash: held },
			on: {
				add: { actions: noteAsked },
				"shim.added": { target: "added", actions: ["publishAdded", replyAsked] },
				"shim.refused": { target: "failed", actions: noteRefusal },
				"shim.silent": { target: "discarding", actions: noteRefusal },
				"shim.lost": { target: "failed", actions: { type: "noteRefusal", params: lost } },
				"task.deleted": { target: "failed", actions: { type: "noteRefusal", params: gone } },
				"request.cancelled": {
					guard: { type: "isAsked", params: ({ event }) => event },
					target: "discarding",
					actions: { type: "noteRefusal", params: withdrawn },
				},
				"deadline.passed": {
					guard: passes("add"),
					target: "discarding",
					actions: { type: "noteRefusal", params: tooLate("add") },
				},
				restored: { target: "discarding", actions: { type: "noteRefusal", params: restarted } },
			},
		},
		discarding: {
			entry: ["discardProcess", wait("discard")],
			exit: waited("discard"),
			on: {
				add: { actions: noteAsked },
				"process.discarded": "failed",
				"task.deleted": "failed",
				"deadline.passed": { guard: passes("discard"), target: "failed" },
				restored: { target: "discarding", reenter: true },
			},
		},
		added: {
			meta: { stash: ["wait"] },
			on: {
				add: { actions: { type: "reply", params: ({ event }) => ({ request: event.request }) } }, // overtaken by the answer
				start: { target: "starting", actions: noteAsked },
				delete: { target: "deleting", actions: noteAsked },
				kill: pass,
				resizePty: pass,
				closeIo: pass,
				"task.deleted": "deleted",
				"shim.buried": "deleted",
			},
		},
		starting: {
			entry: ["askShimToStart", wait("start")],
			exit: waited("start"),
			meta: { stash: ["kill", "delete", "wait", "resizePty", "closeIo"] },
			on: {
				"process.exited": { actions: noteEarly }, // kept: the start is told first
				"shim.started": {
					target: "running",
					actions: [notePid, ...tellsStart, watch, replyPid],
				},
				"shim.refused": { target: "added", actions: refuseAsTold },
				"shim.silent": { target: "reconciling", actions: refuseAsTold },
				"deadline.passed": {
					guard: passes("start"),
					target: "reconciling",
					actions: refuseAsked(tooLate("start")),
				},
				"shim.lost": { target: "shimLost", actions: refuseAsked(lost) },
				"shim.buried": { target: "stopped", actions: [noteBuried, publishExit, refuseAsked(lost)] },
				"task.deleted": { target: "orphaned", actions: [noteGone, refuseAsked(gone)] },
				restored: { target: "reconciling", actions: refuseAsked(restarted) },
			},
		},
		running: {
			meta: { stash: ["wait"] },
			always: endedEarly("stopped"),
			on: {
				kill: pass,
				resizePty: pass,
				closeIo: pass,
				"process.exited": ends,
				"witness.exited": [
					{ guard: isKnownExit, target: "reconciling", actions: noteWitnessed },
					{ guard: isOwn, target: "reconciling" },
				],
				"shim.lost": "shimLost",
				"shim.buried": endsWithShim,
				restored: "reconciling",
			},
		},
		stopped: {
			on: {
				delete: { target: "deleting", actions: noteAsked },
				wait: { actions: replyExit },
				"task.deleted": "deleted",
				...overtakenAnswers,
				"witness.exited": {},
				"witness.saw": {},
			},
		},
		deleting: {
			entry: ["askShimToDelete", wait("delete")],
			exit: waited("delete"),
			meta: { stash: ["delete"] },
			on: {
				wait: { actions: replyExit },
				"shim.deleted": { target: "deleted", actions: replyDeleted },
				"shim.refused": { target: "undeleted", actions: refuseAsTold },
				"shim.silent": { target: "undeleted", actions: refuseAsTold },
				"deadline.passed": { guard: passes("delete"), target: "undeleted", actions: refuseAsked(tooLate("delete")) },
				"task.deleted": { target: "deleted", actions: replyDeleted },
				restored: { target: "undeleted", actions: refuseAsked(restarted) },
			},
		},
		/** Back to where the delete came from. */
		undeleted: { always: [{ guard: "hasExited", target: "stopped" }, { target: "added" }] },
		/** No shim holds the container, which lives on. Requests are held until one has adopted it. */
		shimLost: {
			entry: wait("adoption"),
			exit: waited("adoption"),
			meta: { stash: held },
			always: endedEarly("stopped"),
			on: {
				"shim.adopted": "reconciling",
				"process.exited": [...vanishes, ...endsPerhaps("stopped")],
				"witness.exited": endsByWitness,
				"shim.buried": endsWithShim,
				"deadline.passed": { guard: passes("adoption"), target: "unknown" },
				restored: "reconciling",
			},
		},
		/** The shim is asked what became of the process: after a restart, an adoption, an answer that did not come. */
		reconciling: {
			entry: ["watchAgain", "askShimForState", wait("reconcile")],
			exit: waited("reconcile"),
			meta: { stash: held },
			always: endedEarly("stopped"),
			on: {
				"state.created": [
					{ guard: "hasStarted", target: "unknown" }, // it cannot have become unstarted
					{ target: "added" },
				],
				"state.running": [
					{ guard: "hasStarted", target: "running", actions: watch },
					{ target: "running", actions: [notePid, ...tellsStart, watch] },
				],
				"state.paused": [
					{ guard: "hasStarted", target: "running", actions: watch },
					{ target: "running", actions: [notePid, ...tellsStart, watch] },
				],
				"state.stopped": [...vanishes, ...endsPerhaps("stopped")],
				"state.absent": [
					{ guard: "hasWitness", target: "stopped", actions: ["takeWitnessed", publishExit] },
					{ guard: "hasStarted", target: "stopped", actions: [noteUnseen, publishExit] },
					{ target: "deleted" }, // it was added to a shim that died with it; nobody was told of a start
				],
				"state.silent": "unknown",
				"deadline.passed": { guard: passes("reconcile"), target: "unknown" },
				"process.exited": [...vanishes, ...endsPerhaps("stopped")],
				"shim.adopted": { target: "reconciling", reenter: true },
				"shim.lost": "shimLost",
				"shim.buried": endsWithShim,
				restored: { target: "reconciling", reenter: true },
			},
		},
		/** No shim knows how it has ended. The daemon's own pidfd may: it tells some time after an exit. */
		vanished: {
			entry: ["hurryWitness", wait("witness")],
			exit: waited("witness"),
			meta: { stash: held },
			on: {
				"witness.exited": [endsByWitness, { guard: isOwn, ...endsVanished }],
				"deadline.passed": { guard: passes("witness"), ...endsVanished },
				"process.exited": [{ guard: isVanished }, ended],
				"task.deleted": { target: "ended", actions: ["takeVanished", publishExit] },
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
				"shim.adopted": "reconciling",
				"process.exited": [...vanishes, ...endsPerhaps("stopped")],
				"witness.exited": endsByWitness,
				"shim.buried": endsWithShim,
				restored: "reconciling",
			},
		},
		/** Its container is gone and its own exit is still on the way. */
		orphaned: {
			entry: wait("orphan"),
			exit: waited("orphan"),
			meta: { stash: ["wait", "delete"] },
			always: endedEarly("ended"),
			on: {
				"process.exited": endsPerhaps("ended"),
				"witness.exited": { ...endsByWitness, target: "ended" },
				"shim.buried": { ...endsWithShim, target: "ended" },
				"task.deleted": {},
				"deadline.passed": [
					{
						guard: { type: "wasRunning", params: ({ event }) => ({ name: "orphan", passed: event.name }) },
						target: "ended",
						actions: ["noteGoneExit", publishExit],
					},
					{ guard: passes("orphan"), target: "deleted" },
				],
			},
		},
		/** Whoever waited for the orphan has its answer; then it is forgotten. */
		ended: {
			entry: wait("ended"),
			exit: waited("ended"),
			on: {
				wait: { actions: replyExit },
				delete: { target: "deleted", actions: [noteAsked, replyDeleted] },
				"deadline.passed": { guard: passes("ended"), target: "deleted" },
				"task.deleted": {},
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
