import type { Refusal } from "./effect.ts";
import type { Exit, ProcessFact, ShimFact, StateFact } from "./process-facts.ts";

export interface TaskInput {
	readonly namespace: string;
	readonly id: string;
	readonly runtime: string;
	readonly bundle: string;
	readonly stdin: string;
	readonly stdout: string;
	readonly stderr: string;
	readonly terminal: boolean;
}

export interface TaskContext extends TaskInput {
	/** Which shim holds the container; empty until it is created. */
	readonly shim: string;
	/** Pid of the init; 0 until it is created. */
	readonly pid: number;
	/** The start was published. */
	readonly started: boolean;
	/** The exit, from the moment it is known. */
	readonly exit?: Exit | undefined;
	/** Exits that came before the pid was known. */
	readonly early: readonly Exit[];
	/** What the daemon's own pidfd saw. Told only if no shim knows better. */
	readonly witnessed?: Exit | undefined;
	/** The exit that no shim knows the status of, while the witness is waited for. */
	readonly vanished?: Exit | undefined;
	/** Time of the last OOM that was published; a repeated one is not newer. */
	readonly oomAt: bigint;
	/** The request that the present state serves. */
	readonly asked: string;
	/** Why the creation failed, until it is told. */
	readonly refusal?: Refusal | undefined;
}

/** What the shim is asked on the way, without a change of state. */
export type PassedRequest =
	| { type: "kill"; request: string; signal: number; all: boolean }
	| { type: "resizePty"; request: string; width: number; height: number }
	| { type: "closeIo"; request: string; stdin: boolean }
	| { type: "update"; request: string; typeUrl: string; resources: Uint8Array; annotations: Record<string, string> }
	| { type: "checkpoint"; request: string; path: string; typeUrl: string; options: Uint8Array };

export type TaskRequest =
	/** `exec`: may a process be added now? */
	{ type: "create" | "start" | "pause" | "resume" | "delete" | "wait" | "exec"; request: string } | PassedRequest;

export type TaskFact =
	| ProcessFact
	| ShimFact
	| StateFact
	/** The cgroup's out-of-memory counter moved; `at` is when the shim saw it. */
	| { type: "process.oomed"; at: bigint }
	| { type: "shim.created"; pid: number; shim: string }
	| { type: "shim.started"; pid: number }
	| { type: "shim.paused" | "shim.resumed" }
	/** The shim has let go of the container and the bundle is gone. */
	| { type: "shim.deleted" }
	/** It answered with an error: nothing has changed. */
	| ({ type: "shim.refused" } & Refusal)
	/** No answer: what it did is unknown. */
	| ({ type: "shim.silent" } & Refusal)
	| { type: "task.discarded" }
	/** Answers to passed requests; `call` is the request's id. */
	| { type: "call.answered"; call: string }
	| ({ type: "call.refused"; call: string } & Refusal)
	| { type: "task.checkpointed"; call: string; path: string };

/** How long each wait lasts at most, in milliseconds. Calls to a shim end earlier by themselves. */
export const taskLimits = {
	create: 120_000,
	discard: 30_000,
	start: 60_000,
	pause: 30_000,
	kill: 20_000,
	delete: 60_000,
	/** containerd's `io.containerd.timeout.task.state` is 2 s. */
	reconcile: 10_000,
	/** How long requests are held for a new shim. */
	adoption: 60_000,
	/** How long the daemon's own pidfd may take to tell an exit that no shim knows. */
	witness: 5_000,
	/** Pause before the shim of an unknown task is asked again. */
	again: 15_000,
} as const;
