import type { CollectorTime } from "./garbage-collector.ts";

/** Time that goes on only when a test says so. */
export class ManualTime implements CollectorTime {
	#now = 0;
	#timers: { readonly due: number; readonly run: () => void }[] = [];

	now(): number {
		return this.#now;
	}

	after(ms: number, run: () => void): () => void {
		const timer = { due: this.#now + Math.max(0, ms), run };
		this.#timers.push(timer);
		return () => {
			this.#timers = this.#timers.filter((one) => one !== timer);
		};
	}

	/** Milliseconds until each timer, soonest first. */
	get due(): readonly number[] {
		return this.#timers.map(({ due }) => due - this.#now).sort((a, b) => a - b);
	}

	/** Runs what is due within `ms`, in order. */
	advance(ms: number): void {
		const until = this.#now + ms;
		for (;;) {
			const [next] = this.#timers.filter(({ due }) => due <= until).sort((a, b) => a.due - b.due);
			if (next === undefined) break;
			this.#timers = this.#timers.filter((one) => one !== next);
			this.#now = next.due;
			next.run();
		}
		this.#now = until;
	}
}
