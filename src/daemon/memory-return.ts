import { garbageCollection } from "../sys/collect-garbage.ts";
import { FilePages } from "../sys/file-pages.ts";
import type { Kernel } from "../sys/kernel.ts";

/** So long nothing must have happened before a collection. */
const quietMs = 1_000;
/**
 * After so long without such a pause a short one is enough. Code that was thrown away is compiled again: collecting every
 * four busy seconds cost a quarter of the daemon's time.
 */
const busyMs = 30_000;
const shortQuietMs = 250;
/** Then idle worker threads have ended, and what waited for the first collection to be let go is garbage: one more. */
const laterMs = 4_000;

/**
 * Collects garbage and returns free pages to the host when the daemon has become quiet: after its start, a pull, a burst of
 * containers. V8 and malloc alone keep what the busiest minute needed, half of the daemon's memory. A collection holds up the
 * event loop for about 75 ms; while there is no pause at all, none is made.
 */
export class MemoryReturn {
	readonly #giveBack: (resting: boolean) => void;
	#first = 0;
	#last = 0;
	#timer: NodeJS.Timeout | undefined;
	/** The timer is for the second collection. */
	#again = false;

	/** `resting`: the second call, after five quiet seconds; what the next request would need back may go too. */
	constructor(giveBack: (resting: boolean) => void) {
		this.#giveBack = giveBack;
	}

	/** Something has happened that leaves garbage. Cheap enough for every journal record. */
	used(): void {
		this.#last = performance.now();
		if (this.#timer !== undefined && !this.#again) return;
		this.close();
		this.#first = this.#last;
		this.#wait(quietMs, () => this.#check());
	}

	close(): void {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#again = false;
	}

	#wait(ms: number, then: () => void): void {
		this.#timer = setTimeout(then, ms).unref();
	}

	#check(): void {
		const now = performance.now();
		const busyFor = now - this.#first;
		const missing = (busyFor >= busyMs ? shortQuietMs : quietMs) - (now - this.#last);
		if (missing < 1) {
			this.#giveBack(false);
			this.#again = true;
			this.#wait(laterMs, () => {
				this.close();
				this.#giveBack(true);
			});
			return;
		}
		const untilBusy = busyFor >= busyMs ? missing : Math.max(busyMs - busyFor, 1);
		this.#wait(Math.min(missing, untilBusy), () => this.#check());
	}
}

/** The full collection and malloc's free pages; at rest the pages of program files. */
export function memoryGivenBack(kernel: Pick<Kernel, "malloc_trim" | "madvise">): (resting: boolean) => void {
	const collect = garbageCollection();
	let files: FilePages | undefined;
	return (resting) => {
		if (resting) files ??= new FilePages(kernel); // not during the start; before the collection: it leaves garbage itself
		collect();
		kernel.malloc_trim(0);
		if (resting) files?.release();
	};
}
