/** What the daemon's own pidfd saw of an exit. */
export interface WitnessedExit {
	/** Whether the kernel still had the status; otherwise exitStatus is 255. */
	readonly known: boolean;
	readonly exitStatus: number;
	/** Nanoseconds since 1970. */
	readonly exitedAt: bigint;
}

/** Holds a pidfd of each task's processes: whoever holds one from before an exit can tell it (docs/architecture.md). */
export interface Witness {
	/**
	 * Calls `seen` when the process has ended and its status is known, after a moment in which a shim that lives reports the
	 * same; and again, as final, when no such report is to be expected any more.
	 */
	watch(pid: number, seen: (exit: WitnessedExit, isFinal: boolean) => void): Watch;
	/** Whether this process is there, be it as a zombie. */
	isThere(process: ProcessIdentityOnHost): boolean;
}

/** Who a process is: a pid alone may be another's by now. */
export interface ProcessIdentityOnHost {
	readonly pid: number;
	/** proc(5), field 22. */
	readonly startTime: number;
}

export interface Watch {
	/** Lets go of the process. */
	stop(): void;
	/** No shim can report it any more: what is known is told at once. */
	hurry(): void;
}
