import type { AnyStateMachine } from "xstate";
import type { ActorDefinition } from "./actor-definition.ts";

/** A checked definition: what {@link child} takes. */
export interface ActorLogic<Machine extends AnyStateMachine> {
	readonly kind: string;
	readonly definition: ActorDefinition<Machine>;
}
export type AnyActorLogic = ActorLogic<AnyStateMachine>;

/** Checks a definition (docs/actor-semantics.md, "What the kernel refuses at definition time") and throws what is wrong. */
export function defineActor<Machine extends AnyStateMachine>(
	definition: ActorDefinition<Machine>,
): ActorLogic<Machine> {
	return { kind: definition.kind, definition };
}
