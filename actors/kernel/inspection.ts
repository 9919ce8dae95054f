import type { ErrorRecord, ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import type { Restart, Strategy } from "./child-spec.ts";

/** One step of an actor. Times are milliseconds since 1970. */
export interface TransitionRecord {
	readonly time: number;
	/** State values; `from` is null for the first. */
	readonly from: Value;
	readonly to: Value;
	/** Type of the message that caused it; `started` for the first. */
	readonly message: string;
}

/**
 * `starting`, `running`, `committing` (its step is on the way to the disk), `backoff` (waits to be restarted), `stopping`,
 * `stopped` (by its supervisor), `ended` (final state, or given up).
 */
export type ActorStatus = "starting" | "running" | "committing" | "backoff" | "stopping" | "stopped" | "ended";

interface NodeInspection {
	readonly path: string;
	readonly status: ActorStatus;
	/** How often it was restarted. */
	readonly restarts: number;
	readonly lastError?: ErrorRecord;
	/** How its supervisor restarts it; absent for the root. */
	readonly restart?: Restart;
}

export interface ActorInspection extends NodeInspection {
	readonly node: "actor";
	readonly kind: string;
	readonly identity: ObjectIdentity;
	readonly durable: boolean;
	/** The machine's state value; null before its first start. */
	readonly state: Value;
	/** Since when it is in that state, and the type of the message that brought it there; both survive the process. */
	readonly since: number;
	readonly by?: string;
	readonly lastMessage?: { readonly type: string; readonly time: number };
	readonly mailbox: { readonly system: number; readonly user: number; readonly capacity: number };
	readonly stashed: number;
	readonly openRequests: number;
	/** What it waits for, by due time. */
	readonly deadlines: readonly { readonly name: string; readonly due: number }[];
	/** Messages processed in all incarnations. */
	readonly processed: number;
	/** Milliseconds spent in steps and effects, commits not counted. */
	readonly busyMs: number;
	/** Newest last, at most 16. */
	readonly transitions: readonly TransitionRecord[];
}

export interface SupervisorInspection extends NodeInspection {
	readonly node: "supervisor";
	readonly strategy: Strategy;
	readonly intensity: number;
	readonly periodMs: number;
	readonly children: number;
}

export type Inspection = ActorInspection | SupervisorInspection;

export interface WaitingMessage {
	readonly lane: "system" | "user" | "stash" | "open";
	readonly type: string;
	/** Since when it waits. */
	readonly since: number;
	/** For requests: when its asker gives up. */
	readonly due?: number;
}

export interface KernelCounters {
	readonly lateReplies: number;
	readonly deadLetters: number;
	/** Messages refused because a mailbox or stash was full. */
	readonly overflows: number;
	readonly crashes: number;
}
