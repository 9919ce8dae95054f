import type { Store } from "../../src/metadata/store/store.ts";
import type { Restart, Shutdown } from "./child-spec.ts";
import type { Clock } from "./clock.ts";
import type { DeadLetterOffice } from "./dead-letters.ts";
import type { Inspection, WaitingMessage } from "./inspection.ts";
import type { KernelEvent } from "./kernel-event.ts";
import type { Scheduler } from "./scheduler.ts";

/** What all nodes of one tree share. */
export interface Runtime {
	readonly clock: Clock;
	readonly random: () => number;
	readonly store: Store | undefined;
	readonly scheduler: Scheduler;
	readonly deadLetters: DeadLetterOffice;
	readonly counters: { lateReplies: number; overflows: number; crashes: number };
	/** By path. */
	readonly nodes: Map<string, Node>;
	nextRequestId(): string;
	readonly watched: boolean;
	emit(event: KernelEvent): void;
}

export type Outcome = { readonly kind: "normal" } | { readonly kind: "failed"; readonly error: Error };

/** What its supervisor knows about a node. */
export interface Supervision {
	readonly restart?: Restart;
	readonly restarts: number;
}

/** A place in the tree, which outlives the actors that are restarted in it. */
export interface Node {
	readonly path: string;
	/** Rejects if it does not come to run. Not called while it runs. */
	launch(): Promise<void>;
	/**
	 * Resolves when it has stopped. `for good`: what waits is refused; `for a restart`: messages wait, bounded. The node's
	 * supervisor is not told. Never rejects.
	 */
	halt(shutdown: Shutdown, purpose: StopPurpose): Promise<void>;
	/** For one that does not run and will not be restarted: refuses what waits. */
	retire(): void;
	inspect(supervision: Supervision): Inspection;
	waiting(): readonly WaitingMessage[];
}

export type StopPurpose = "for good" | "for a restart";

/** Called when a node stopped running by itself. */
export type NodeEnded = (outcome: Outcome) => void;
