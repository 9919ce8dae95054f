import type { Clock } from "./clock.ts";
import type { Message } from "./message.ts";

const firstMs = 10_000;
const longestMs = 600_000;
/** Different facts remembered; more than a handful of poisonous ones is another kind of trouble. */
const remembered = 16;

/**
 * Facts that killed their actor. A sender repeats a fact until it is acknowledged; without this door one poisonous fact
 * would exceed any restart intensity and take the ancestors along.
 */
export class ClosedDoor {
	readonly #clock: Clock;
	readonly #killers = new Map<string, { readonly until: number; readonly ms: number }>();

	constructor(clock: Clock) {
		this.#clock = clock;
	}

	close(fact: Message): void {
		const key = fingerprint(fact);
		const before = this.#killers.get(key);
		const ms = before === undefined ? firstMs : Math.min(before.ms * 2, longestMs);
		this.#killers.delete(key);
		this.#killers.set(key, { ms, until: this.#clock.now() + ms });
		const [oldest] = this.#killers.keys();
		if (this.#killers.size > remembered && oldest !== undefined) this.#killers.delete(oldest);
	}

	/** Milliseconds until the fact may try again; 0 for one that may enter. */
	keepsOut(fact: Message): number {
		if (this.#killers.size === 0) return 0;
		const killer = this.#killers.get(fingerprint(fact));
		return killer === undefined ? 0 : Math.max(0, killer.until - this.#clock.now());
	}
}

const fingerprint = (fact: Message): string =>
	JSON.stringify(fact, (_name, value: unknown) => {
		if (typeof value === "bigint") return `${value}n`;
		return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
	});
