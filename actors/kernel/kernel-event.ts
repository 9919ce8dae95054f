import type { DeadLetter } from "./dead-letters.ts";
import type { TransitionRecord } from "./inspection.ts";

/** What happened in the tree, as it happens; the durable actors' transitions are in the journal as well. */
export type KernelEvent =
	| { readonly type: "transition"; readonly path: string; readonly transition: TransitionRecord }
	/** An actor failed while it took this type of message. */
	| { readonly type: "crashed"; readonly path: string; readonly error: Error; readonly message: string }
	| { readonly type: "restarting"; readonly path: string; readonly delayMs: number }
	/** A child could not be started again. */
	| { readonly type: "start failed"; readonly path: string; readonly error: Error }
	/** A supervisor exceeded its intensity. */
	| { readonly type: "gave up"; readonly path: string; readonly error: Error }
	| { readonly type: "dead letter"; readonly letter: DeadLetter };
