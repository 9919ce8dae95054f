/** The end of a process, as a shim or the kernel told it. Identity: (namespace, id, exec id, pid, exit time). */
export interface Exit {
	readonly pid: number;
	/** 0-255; 128 + n after signal n; 255 when nobody who knew it is left. */
	readonly exitStatus: number;
	/** Nanoseconds since 1970. */
	readonly exitedAt: bigint;
	/** Nobody who knew the status was left: 255 is no observation. */
	readonly unknown?: boolean | undefined;
}

/** The fields of an exit, and no others. */
export const exitFrom = ({ pid, exitStatus, exitedAt, unknown }: Exit): Exit => ({
	pid,
	exitStatus,
	exitedAt,
	...(unknown === true ? { unknown } : {}),
});

/** Facts about a process that arrive unasked. */
export type ProcessFact =
	/** From the shim's journal; repeated until acknowledged. */
	| ({ type: "process.exited" } & Exit)
	/**
	 * From the pidfd that the daemon holds, some time after the shim should have reported the same. `known` says whether the
	 * kernel still had the status.
	 */
	| ({ type: "witness.exited"; known: boolean } & Exit)
	/** The same earlier, to be kept: the daemon may die before the shims' time is over. */
	| ({ type: "witness.saw"; known: boolean } & Exit);

/** Facts about the shim that holds the process, told to all that live in it. */
export type ShimFact =
	| { type: "shim.lost" }
	/** This shim holds the container now. */
	| { type: "shim.adopted"; shim: string }
	/** What of the stdio of a container's processes the shim that adopted it could not open again, and why. */
	| { type: "stdio.lost"; lost: readonly string[] }
	/** The shim is gone for good and what it held was removed: its processes ended thus. */
	| ({ type: "shim.buried" } & Omit<Exit, "pid">);

/** The shim's answer to State. */
export type StateFact =
	| { type: "state.created" | "state.running" | "state.paused"; pid: number }
	| ({ type: "state.stopped" } & Exit)
	/** The shim is there and does not know the process. `exitedAt` is now: the time of an exit that nobody saw. */
	| { type: "state.absent"; exitedAt: bigint }
	| { type: "state.silent"; problem: string };

/** Transitions of a state whose exit has overtaken the answers to the question before. */
export const overtakenAnswers = {
	"state.created": {},
	"state.running": {},
	"state.paused": {},
	"state.stopped": {},
	"state.absent": {},
	"state.silent": {},
} as const;
