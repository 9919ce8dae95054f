import type { ProcessExit } from "../src/gen/troupe/shim/v1/shim.ts";

/** How a process of a container ended. Two records of one exit are equal in all fields: that makes it once in effect. */
export interface Exit {
	readonly containerId: string;
	/** Empty for the init process. */
	readonly execId: string;
	readonly pid: number;
	/** 0 to 255, 128 + n after signal n. 255 if unknown. */
	readonly status: number;
	/** Nanoseconds since 1970. */
	readonly at: bigint;
	/** Nobody who knew the status was left: it is said plainly, never invented. */
	readonly unknown: boolean;
}

export const toWire = ({ containerId, execId, pid, status, at, unknown }: Exit): ProcessExit => ({
	containerId,
	execId,
	pid,
	exitStatus: status,
	exitedAt: at,
	unknown,
});

export const fromWire = (exit: ProcessExit): Exit => ({
	containerId: exit.containerId,
	execId: exit.execId,
	pid: exit.pid,
	status: exit.exitStatus,
	at: exit.exitedAt,
	unknown: exit.unknown,
});

/** A process within a namespace, as a key. Ids have no slash (containerd's identifiers). */
export const processKey = (containerId: string, execId: string): string => `${containerId}/${execId}`;
