import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import type { AskOptions } from "./actor-ref.ts";
import type { Clock } from "./clock.ts";
import type { Message } from "./message.ts";

export type GoneReason = "DeadlineExceeded" | "Canceled";

/** The actor's side of an ask. */
export interface Asked {
	readonly identity: ObjectIdentity;
	/** For the error of an ask that ran out of time. */
	stateInWords(): string;
	/** The asker does not wait any longer. */
	askerGone(request: AskedRequest, reason: GoneReason): void;
}

/** A request with an asker who waits for its answer. Settles once; what comes later is ignored. */
export class AskedRequest {
	readonly lane = "request";
	readonly message: Message;
	readonly id: string;
	readonly since: number;
	/** When the asker gives up, in milliseconds since 1970. */
	readonly due: number;
	readonly promise: Promise<Value>;
	readonly #asked: Asked;
	readonly #signal: AbortSignal | undefined;
	readonly #resolve: (value: Value) => void;
	readonly #reject: (error: Error) => void;
	readonly #cancelTimer: () => void;
	readonly #onAbort: (() => void) | undefined;
	#settled = false;

	constructor(message: Message, id: string, { deadlineMs, signal }: AskOptions, asked: Asked, clock: Clock) {
		const { promise, resolve, reject } = Promise.withResolvers<Value>();
		this.message = message;
		this.id = id;
		this.since = clock.now();
		this.due = this.since + deadlineMs;
		this.promise = promise;
		this.#asked = asked;
		this.#resolve = resolve;
		this.#reject = reject;
		this.#cancelTimer = clock.after(deadlineMs, () =>
			this.#gone("DeadlineExceeded", `no answer to ${message.type} within ${deadlineMs} ms, ${asked.stateInWords()}`),
		);
		this.#signal = signal;
		if (signal !== undefined) {
			this.#onAbort = () => this.#gone("Canceled", `${message.type} was cancelled by its caller`);
			signal.addEventListener("abort", this.#onAbort, { once: true });
		}
	}

	answer(value: Value): void {
		if (this.#settle()) this.#resolve(value);
	}

	refuse(error: Error): void {
		if (this.#settle()) this.#reject(error);
	}

	#gone(reason: GoneReason, problem: string): void {
		if (!this.#settle()) return;
		this.#reject(new DaemonError(reason, this.#asked.identity, problem, { cause: this.#signal?.reason }));
		this.#asked.askerGone(this, reason);
	}

	#settle(): boolean {
		if (this.#settled) return false;
		this.#settled = true;
		this.#cancelTimer();
		if (this.#onAbort !== undefined) this.#signal?.removeEventListener("abort", this.#onAbort);
		return true;
	}
}
