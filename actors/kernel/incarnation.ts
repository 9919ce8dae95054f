import type { ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ActorRef } from "./actor-ref.ts";
import type { Clock } from "./clock.ts";
import type { Message } from "./message.ts";
import type { Scope } from "./scope.ts";

/** One life of an actor, from a start to a stop, crash or end. It is the scope of everything done meanwhile. */
export class Incarnation implements Scope {
	readonly self: ActorRef;
	readonly identity: ObjectIdentity;
	readonly clock: Clock;
	context: unknown;
	readonly #answer: (fact: Message) => void;
	#over = false;
	#controller: AbortController | undefined;

	constructor(self: ActorRef, identity: ObjectIdentity, clock: Clock, answer: (fact: Message) => void) {
		this.self = self;
		this.identity = identity;
		this.clock = clock;
		this.#answer = answer;
	}

	get path(): string {
		return this.self.path;
	}

	get over(): boolean {
		return this.#over;
	}

	/** Made when first asked for: most actors never need one. */
	get signal(): AbortSignal {
		if (this.#controller === undefined) {
			this.#controller = new AbortController();
			if (this.#over) this.#controller.abort();
		}
		return this.#controller.signal;
	}

	/** Resolves when it is over. */
	get finished(): Promise<void> {
		const { signal } = this;
		return new Promise((resolve) => {
			if (signal.aborted) resolve();
			else signal.addEventListener("abort", () => resolve(), { once: true });
		});
	}

	send(fact: Message): void {
		if (!this.#over) this.#answer(fact);
	}

	finish(): void {
		if (this.#over) return;
		this.#over = true;
		this.#controller?.abort();
	}
}
