import type { DaemonError } from "../../src/errors/daemon-error.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import type { Clock } from "./clock.ts";
import type { ActorInspection, TransitionRecord } from "./inspection.ts";
import { sameState } from "./state-value.ts";

const transitionsKept = 16;

/** What an actor's name has been through, over all its incarnations in this process. */
export class Chronicle {
	readonly #clock: Clock;
	readonly #transitions: TransitionRecord[] = [];
	#since: number;
	#by = "";
	#lastMessage: { readonly type: string; readonly time: number } | undefined;
	#lastError: DaemonError | undefined;
	#processed = 0;
	#busyMs = 0;

	constructor(clock: Clock) {
		this.#clock = clock;
		this.#since = clock.now();
	}

	/** Oldest first, at most 16. */
	get transitions(): readonly TransitionRecord[] {
		return [...this.#transitions];
	}

	/** Since when, and by which message, the actor will be in a state after a step. */
	after(from: Value, to: Value, message: string): { readonly since: number; readonly by: string } {
		const stays = from !== null && sameState(from, to);
		return stays ? { since: this.#since, by: this.#by } : { since: this.#clock.now(), by: message };
	}

	processed(message: string): void {
		this.#processed++;
		this.#lastMessage = { type: message, time: this.#clock.now() };
	}

	transition(from: Value, to: Value, message: string): TransitionRecord {
		const record = { time: this.#clock.now(), from, to, message };
		this.#transitions.push(record);
		if (this.#transitions.length > transitionsKept) this.#transitions.shift();
		this.restored(this.after(from, to, message));
		return record;
	}

	restored({ since, by }: { readonly since: number; readonly by: string }): void {
		this.#since = since;
		this.#by = by;
	}

	failed(error: DaemonError): void {
		this.#lastError = error;
	}

	/** Runs synchronous work and counts its time. */
	busy(work: () => void): void {
		const started = this.#clock.monotonic();
		work();
		this.#busyMs += this.#clock.monotonic() - started;
	}

	inspect() {
		return {
			since: this.#since,
			...(this.#by === "" ? {} : { by: this.#by }),
			...(this.#lastMessage === undefined ? {} : { lastMessage: this.#lastMessage }),
			...(this.#lastError === undefined ? {} : { lastError: this.#lastError.toRecord() }),
			processed: this.#processed,
			busyMs: this.#busyMs,
			transitions: this.transitions,
		} satisfies Partial<ActorInspection>;
	}
}
