/** A reproducible source of chance: the same seed gives the same numbers. */
export class Random {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0;
	}

	/** A source of its own for somebody, whatever the others draw meanwhile. */
	fork(name: string): Random {
		let seed = this.#state;
		for (const byte of Buffer.from(name)) seed = Math.imul(seed ^ byte, 0x0100_0193);
		return new Random(seed);
	}

	/** From 0 up to but not 1: mulberry32. */
	next(): number {
		this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
		let mixed = this.#state;
		mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	}

	/** A whole number of `from` to `to`, both included. */
	integer(from: number, to: number): number {
		return from + Math.floor(this.next() * (to - from + 1));
	}

	chance(probability: number): boolean {
		return this.next() < probability;
	}

	pick<T>(items: readonly T[]): T {
		const item = items[Math.floor(this.next() * items.length)];
		if (item === undefined) throw new Error("nothing to pick from");
		return item;
	}

	/** By weight. */
	weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
		const entries = Object.entries(weights) as [Name, number][];
		let point = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
		for (const [name, weight] of entries) {
			point -= weight;
			if (point < 0) return name;
		}
		return entries.at(-1)?.[0] as Name;
	}
}
