import type { Value } from "../../src/metadata/store/store.ts";
import type { Message } from "./message.ts";

export interface AskOptions {
	/** Milliseconds from now until the ask rejects with DeadlineExceeded. Everything has a deadline. */
	readonly deadlineMs: number;
	/** When aborted, the ask rejects with Canceled; the actor is told if it had taken the request. */
	readonly signal?: AbortSignal | undefined;
}

/** An actor's address. It stays valid when the actor is restarted. */
export interface ActorRef<Request extends Message = Message, Fact extends Message = Message> {
	/** `/task-manager/default/web` */
	readonly path: string;
	/**
	 * Resolves with the reply's value, or null for a reply without one. Rejects with a DaemonError: the refusal of the
	 * actor, ResourceExhausted (mailbox or stash full), DeadlineExceeded, Canceled, NotFound (the actor has ended),
	 * Unavailable (it is being stopped), Aborted (it ended or forgot the request without an answer), Internal (it crashed).
	 */
	ask(request: Request, options: AskOptions): Promise<Value>;
	/**
	 * Resolves when what the fact caused is durable: the acknowledgement. Rejects if it was not taken, so that the sender
	 * repeats it: ResourceExhausted, Unavailable, Aborted (it crashed the actor), FailedPrecondition (it crashed the actor
	 * before and is kept out for a while), or NotFound (the actor has ended for good). Ignoring the promise is safe.
	 */
	tell(fact: Fact): Promise<void>;
}
