import type { ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ActorRef } from "./actor-ref.ts";
import type { Clock } from "./clock.ts";
import type { Message } from "./message.ts";

/** What a contribution or an effect knows about its actor. It belongs to one incarnation: a restart makes a new one. */
export interface Scope<Context = unknown, Request extends Message = Message, Fact extends Message = Message> {
	readonly self: ActorRef<Request, Fact>;
	readonly path: string;
	readonly identity: ObjectIdentity;
	/** The machine's context after the step that ordered this action; later, after the newest step. */
	readonly context: Context;
	/** Aborted when this incarnation stops, crashes or ends: give it to everything the effect starts. */
	readonly signal: AbortSignal;
	readonly clock: Clock;
	/**
	 * Answers the actor itself: what an effect's work does when it is done. Never throws or rejects, and finds room in a
	 * full mailbox (up to twice its size); what cannot be taken becomes a dead letter. Dropped once the incarnation is over.
	 */
	send(fact: Fact): void;
}
