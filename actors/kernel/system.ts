import type { Store } from "../../src/metadata/store/store.ts";
import type { ActorRef } from "./actor-ref.ts";
import type { SupervisorSpec } from "./child-spec.ts";
import type { Clock } from "./clock.ts";
import type { DeadLetter } from "./dead-letters.ts";
import type { Inspection, KernelCounters, TransitionRecord, WaitingMessage } from "./inspection.ts";
import type { SupervisorRef } from "./supervisor-ref.ts";

export interface SystemOptions {
	readonly root: SupervisorSpec;
	/** Without one only ephemeral actors start. */
	readonly store?: Store;
	readonly clock?: Clock;
	/** 0 (included) to 1 (excluded); for jitter and request ids. */
	readonly random?: () => number;
	/** Dead letters kept; default 1024. */
	readonly deadLetters?: number;
}

/** What happened in the tree, as it happens; the durable actors' transitions are in the journal as well. */
export type KernelEvent =
	| { readonly type: "transition"; readonly path: string; readonly transition: TransitionRecord }
	| { readonly type: "crashed"; readonly path: string; readonly error: Error; readonly message: string }
	| { readonly type: "restarting"; readonly path: string; readonly delayMs: number }
	| { readonly type: "gave up"; readonly path: string; readonly error: Error }
	| { readonly type: "dead letter"; readonly letter: DeadLetter };

export interface System {
	readonly root: SupervisorRef;
	readonly clock: Clock;
	/** The actor at an absolute path. */
	find<Ref extends ActorRef = ActorRef>(path: string): Ref | undefined;
	supervisor(path: string): SupervisorRef | undefined;
	/** The whole tree, parents first, children in the order of their start. */
	inspect(): Iterable<Inspection>;
	/** One node, with the messages that wait (at most 100). */
	inspectOne(path: string): (Inspection & { readonly waiting: readonly WaitingMessage[] }) | undefined;
	readonly deadLetters: readonly DeadLetter[];
	readonly counters: KernelCounters;
	/** Calls the listener for all that happens, until the returned function is called. It must not throw. */
	watch(listener: (event: KernelEvent) => void): () => void;
	/** Stops the tree in reverse order of start. Records are kept. */
	stop(): Promise<void>;
	/** Resolves after stop(); rejects with the error when the root gives up. Ignoring it is safe. */
	readonly ended: Promise<void>;
}
