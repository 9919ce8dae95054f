import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Kernel } from "../src/sys/kernel.ts";

/** The collection takes some milliseconds: at most once in this time, and only after something has happened. */
const restMs = 30_000;
const afterStartMs = 200;

/**
 * Collects garbage and returns malloc's free pages: once when all code is loaded, and a while after each time that
 * children have ended. A shim lives for months with a small heap, and V8 alone would keep what the busiest minute needed.
 */
export class MemoryReturn {
	readonly #kernel: Pick<Kernel, "malloc_trim">;
	readonly #collect: (options: object) => void;
	#timer: NodeJS.Timeout | undefined;

	constructor(kernel: Pick<Kernel, "malloc_trim">) {
		this.#kernel = kernel;
		setFlagsFromString("--expose-gc");
		this.#collect = runInNewContext("gc") as (options: object) => void;
		this.#plan(afterStartMs);
	}

	/** Something has happened that leaves garbage. */
	used(): void {
		this.#plan(restMs);
	}

	#plan(ms: number): void {
		this.#timer ??= setTimeout(() => {
			this.#timer = undefined;
			this.#collect({ type: "major", execution: "sync", flavor: "last-resort" });
			this.#kernel.malloc_trim(0);
		}, ms).unref();
	}
}
