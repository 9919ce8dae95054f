import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Kernel } from "../sys/kernel.ts";
import type { MemoryRange } from "./mapped-code.ts";

/** So long nothing must have happened before a collection. */
const quietMs = 1_000;
/** After so long without such a pause a short one is enough. */
const busyMs = 4_000;
const shortQuietMs = 50;
/** Then idle worker threads have ended, and what waited for the first collection to be let go is garbage: one more. */
const laterMs = 4_000;

/**
 * Collects garbage and returns free pages to the host when the daemon has become quiet: after its start, a pull, a burst of
 * containers. V8 and malloc alone keep what the busiest minute needed, half of the daemon's memory. A collection holds up the
 * event loop for about 75 ms; while there is no pause at all, none is made.
 */
export class MemoryReturn {
	readonly #giveBack: () => void;
	#first = 0;
	#last = 0;
	#timer: NodeJS.Timeout | undefined;
	/** The timer is for the second collection. */
	#again = false;

	constructor(giveBack: () => void) {
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
			this.#giveBack();
			this.#again = true;
			this.#wait(laterMs, () => {
				this.close();
				this.#giveBack();
			});
			return;
		}
		const untilBusy = busyFor >= busyMs ? missing : Math.max(busyMs - busyFor, 1);
		this.#wait(Math.min(missing, untilBusy), () => this.#check());
	}
}

const MADV_DONTNEED = 4;

/**
 * The full collection, compiled code that nobody called lately included, then malloc's free pages, then the mapping of
 * `code`, most of which only a start runs: it stays in the page cache, and what is called comes back page by page.
 */
export function memoryGivenBack(
	kernel: Pick<Kernel, "malloc_trim" | "madvise">,
	code: readonly MemoryRange[],
): () => void {
	setFlagsFromString("--expose-gc");
	const collect = runInNewContext("gc") as (options: object) => void;
	return () => {
		collect({ type: "major", execution: "sync", flavor: "last-resort" });
		kernel.malloc_trim(0);
		for (const { address, length } of code) kernel.madvise(address, length, MADV_DONTNEED);
	};
}
