import type { Calls } from "./signatures.ts";

export interface Poll {
	/** Stops watching. Call it before the descriptor is closed: a reused number would be watched instead. */
	close(): void;
	/** A poll keeps the event loop alive unless it is unreferenced. */
	unref(): void;
}

export type Readiness = "readable" | "writable";

/** All that Troupe asks of the kernel beside Node's own API. Its double is recording-kernel.ts. */
export interface Kernel extends Calls {
	/**
	 * Calls `listener` whenever the descriptor is ready, as long as it is (level-triggered: read what is there). `problem`
	 * is an errno name if the watch itself failed. On main threads only: libuv aborts the process when a worker ends with
	 * an open poll. Throws SysError: EPERM for a regular file, EEXIST for a descriptor that is watched already.
	 */
	poll(fd: number, listener: (problem?: string) => void, readiness?: Readiness): Poll;
}
