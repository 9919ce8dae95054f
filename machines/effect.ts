/**
 * What a machine orders and does not do. Machines are stepped with xstate's pure `transition()`: it returns the orders,
 * the actor carries them out after the step is durable. Running one inside a machine is a mistake, so it throws.
 */
export const effect =
	<P = unknown>() =>
	(_: unknown, _params: P): void => {
		throw new Error("an effect was run inside the machine");
	};

/** Why a request is refused, in the words of src/errors. */
export interface Refusal {
	readonly code: string;
	readonly problem: string;
}

/** The orders that every actor understands (docs/actor-semantics.md). */
export const kernelEffects = {
	/** Answers an open request. */
	reply: effect<{ request: string; value?: unknown }>(),
	/** Refuses an open request. */
	refuse: effect<{ request: string } & Refusal>(),
	/** `deadline.passed` with this name arrives after `ms`, unless cleared or set anew before. Survives a restart. */
	setDeadline: effect<{ name: string; ms: number }>(),
	clearDeadline: effect<{ name: string }>(),
};

/** The kernel's own facts. */
export type KernelFact =
	| { type: "deadline.passed"; name: string }
	/** The actor was rebuilt from its record: what was under way before is unknown. */
	| { type: "restored" }
	/** Whoever asked has gone away; its answer would be dropped. */
	| { type: "request.cancelled"; request: string };
