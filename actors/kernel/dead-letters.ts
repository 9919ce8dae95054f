import type { TransitionRecord } from "./inspection.ts";
import type { Message } from "./message.ts";

/** A message nobody took. For people, not for logic. */
export interface DeadLetter {
	/** Milliseconds since 1970. */
	readonly time: number;
	readonly path: string;
	readonly message: Message;
	/** Why, in words. */
	readonly reason: string;
	/** The actor's last transitions, newest last. */
	readonly transitions: readonly TransitionRecord[];
}

/** Keeps the newest letters. */
export class DeadLetterOffice {
	readonly #capacity: number;
	readonly #letters: DeadLetter[] = [];
	#total = 0;

	constructor(capacity: number) {
		this.#capacity = capacity;
	}

	/** Letters ever received, including those dropped since. */
	get total(): number {
		return this.#total;
	}

	/** Oldest first. */
	get letters(): readonly DeadLetter[] {
		return this.#letters;
	}

	keep(letter: DeadLetter): void {
		this.#total++;
		this.#letters.push(letter);
		if (this.#letters.length > this.#capacity) this.#letters.shift();
	}
}
