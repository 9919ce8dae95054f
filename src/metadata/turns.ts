/**
 * Work on the same key, one after the other in the order of asking; different keys do not wait for each other. This is
 * how a backend's slow steps and the metadata about them stay in step without a lock around everything.
 */
export class Turns {
	readonly #last = new Map<string, Promise<unknown>>();

	run<T>(key: string, act: () => Promise<T>): Promise<T> {
		const turn = (this.#last.get(key) ?? Promise.resolve()).then(act);
		const settled = turn.then(
			() => undefined,
			() => undefined,
		);
		this.#last.set(key, settled);
		settled.then(() => {
			if (this.#last.get(key) === settled) this.#last.delete(key);
		});
		return turn;
	}

	/** Waits for the turn of both keys, always in the same order, so that no two wait for each other. */
	runBoth<T>(a: string, b: string, act: () => Promise<T>): Promise<T> {
		if (a === b) return this.run(a, act);
		const [first, second] = a < b ? [a, b] : [b, a];
		return this.run(first, () => this.run(second, act));
	}
}
