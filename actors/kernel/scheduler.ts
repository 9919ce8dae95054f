/** Messages taken before the event loop gets its turn. */
const turn = 512;

/** Lets actors take messages: one each, in turn, in microtasks, and not so many that I/O starves. */
export class Scheduler {
	#ready: (() => void)[] = [];
	#running = false;

	schedule(takeNext: () => void): void {
		this.#ready.push(takeNext);
		if (this.#running) return;
		this.#running = true;
		queueMicrotask(this.#run);
	}

	readonly #run = (): void => {
		let left = turn;
		while (this.#ready.length > 0) {
			const round = this.#ready;
			if (left < round.length) {
				this.#ready = round.slice(left);
				for (const takeNext of round.slice(0, left)) takeNext();
				setImmediate(this.#run);
				return;
			}
			left -= round.length;
			this.#ready = [];
			for (const takeNext of round) takeNext();
		}
		this.#running = false;
	};
}
