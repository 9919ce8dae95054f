/**
 * Bounds how many layers are fetched at once (`max_concurrent_downloads`), and is fair: a free slot goes to the pull that
 * has the fewest, so that an image of a hundred layers does not keep a small one waiting.
 */
export class DownloadSlots {
	readonly #limit: number;
	readonly #used = new Map<string, number>();
	readonly #waiting: { readonly owner: string; readonly grant: () => void }[] = [];
	#taken = 0;

	constructor(limit: number) {
		this.#limit = limit;
	}

	/** Resolves with the function that gives the slot back. Rejects with the signal's reason. */
	acquire(owner: string, signal: AbortSignal): Promise<() => void> {
		return new Promise((resolve, reject) => {
			if (signal.aborted) return reject(signal.reason);
			const onAbort = (): void => {
				this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
				reject(signal.reason);
			};
			const grant = (): void => {
				signal.removeEventListener("abort", onAbort);
				resolve(this.#take(owner));
			};
			const waiter = { owner, grant };
			if (this.#taken < this.#limit) return grant();
			this.#waiting.push(waiter);
			signal.addEventListener("abort", onAbort, { once: true });
		});
	}

	#take(owner: string): () => void {
		this.#taken++;
		this.#used.set(owner, (this.#used.get(owner) ?? 0) + 1);
		let held = true;
		return () => {
			if (!held) return;
			held = false;
			this.#taken--;
			const left = (this.#used.get(owner) ?? 1) - 1;
			if (left === 0) this.#used.delete(owner);
			else this.#used.set(owner, left);
			this.#grantNext();
		};
	}

	#grantNext(): void {
		const usedBy = (owner: string): number => this.#used.get(owner) ?? 0;
		const [next] = this.#waiting.toSorted((a, b) => usedBy(a.owner) - usedBy(b.owner)); // stable: first come, first served
		if (next === undefined) return;
		this.#waiting.splice(this.#waiting.indexOf(next), 1);
		next.grant();
	}
}
