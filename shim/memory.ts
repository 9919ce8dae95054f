import { garbageCollection } from "../src/sys/collect-garbage.ts";
import { FilePages } from "../src/sys/file-pages.ts";
import type { Kernel } from "../src/sys/kernel.ts";

/** A collection takes some milliseconds: at most one in this time, and only after something has happened. */
const restMs = 30_000;
const afterStartMs = 200;
/** So many collections in a row let go of the byte code that was not called since the one before. */
const untilCodeIsOld = 3;

/**
 * Collects garbage, returns malloc's free pages, and lets go of the pages of program files: once when all code is loaded,
 * and a while after each time that something has happened. A shim lives for months with a small heap, and V8 alone would
 * keep what the busiest minute needed.
 */
export class MemoryReturn {
	readonly #kernel: Pick<Kernel, "malloc_trim" | "madvise">;
	readonly #collect = garbageCollection();
	readonly #files: FilePages;
	#timer: NodeJS.Timeout | undefined;

	constructor(kernel: Pick<Kernel, "malloc_trim" | "madvise">) {
		this.#kernel = kernel;
		this.#files = new FilePages(kernel);
		this.#plan(afterStartMs, 1);
	}

	/** Something has happened that leaves garbage. Cheap enough for every request. */
	used(): void {
		this.#plan(restMs, untilCodeIsOld);
	}

	#plan(ms: number, collections: number): void {
		this.#timer ??= setTimeout(() => {
			this.#timer = undefined;
			for (let turn = 0; turn < collections; turn++) this.#collect();
			this.#kernel.malloc_trim(0);
			this.#files.release();
		}, ms).unref();
	}
}
