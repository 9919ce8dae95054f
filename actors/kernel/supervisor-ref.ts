import type { ActorRef } from "./actor-ref.ts";
import type { ActorChildSpec, ChildSpec } from "./child-spec.ts";

/** A supervisor's address. It stays valid when the supervisor is restarted. */
export interface SupervisorRef {
	readonly path: string;
	/**
	 * Starts a dynamic child and resolves when it runs (a durable one: when its record is on disk). AlreadyExists for an id
	 * in use, Unavailable while the supervisor is not running, otherwise the error that kept the child from starting.
	 */
	start<Ref extends ActorRef>(spec: ActorChildSpec<Ref>): Promise<Ref>;
	start(spec: ChildSpec): Promise<ActorRef | undefined>;
	/** OTP's terminate_child: stops it within its shutdown time. A dynamic child is forgotten; its record is kept. */
	stop(id: string): Promise<void>;
	/** Starts a static child again that was stopped or has ended. */
	restart(id: string): Promise<void>;
	/** The actor with this id, as the caller knows it to be typed. */
	find<Ref extends ActorRef = ActorRef>(id: string): Ref | undefined;
	/** The supervisor below with this id. */
	supervisor(id: string): SupervisorRef | undefined;
	/** In the order of their start. */
	ids(): readonly string[];
}
