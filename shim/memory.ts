import { garbageCollection } from "../src/sys/collect-garbage.ts";
import { FilePages } from "../src/sys/file-pages.ts";
import type { Kernel } from "../src/sys/kernel.ts";

/** A collection takes some milliseconds: at most one in this time, and only after something has happened. */
const restMs = 30_000;
const afterStartMs = 200;
/** So many collections in a row let go of the byte code that was not called since the one before. */
const untilCodeIsOld = 3;

/**
 * Collects garbage, returns malloc's free pages, and lets go of the pages of program files a while after each time that
 * something has happened. A shim lives for months with a small heap, and V8 alone would keep what the busiest minute
 * needed. Garbage alone once all code is loaded: the first request is about to need the files.
 */
export class MemoryReturn {
	readonly #kernel: Pick<Kernel, "malloc_trim" | "madvise">;
	readonly #collect = garbageCollection();
	#files: FilePages | undefined;
	#timer: NodeJS.Timeout | undefined;

	constructor(kernel: Pick<Kernel, "malloc_trim" | "madvise">) {
		this.#kernel = kernel;
		setTimeout(() => {
			this.#collect();
			kernel.malloc_trim(0);
		}, afterStartMs).unref();
		this.used();
	}

	/** Something has happened that leaves garbage. Cheap enough for every request. */
	used(): void {
		this.#timer ??= setTimeout(() => this.#rest(), restMs).unref();
	}

	#rest(): void {
		this.#timer = undefined;
		this.#files ??= new FilePages(this.#kernel); // before the collection: it leaves garbage itself
		for (let turn = 0; turn < untilCodeIsOld; turn++) this.#collect();
		this.#kernel.malloc_trim(0);
		this.#files.release();
	}
}
