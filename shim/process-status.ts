import { Status } from "../src/gen/containerd/types/task/task.ts";

/**
 * The states of a process in the shim and the only legal moves. `added` is an exec whose process is not made yet;
 * `restorable` a container that starts from a checkpoint.
 */
const moves = {
	added: ["starting"],
	restorable: ["starting"],
	created: ["starting", "stopped"],
	starting: ["running", "added", "restorable", "created", "stopped"],
	running: ["pausing", "stopped"],
	pausing: ["paused", "running", "stopped"],
	paused: ["running", "stopped"],
	stopped: [],
} as const satisfies Record<string, readonly string[]>;

export type ProcessStatus = keyof typeof moves;

export const canMove = (from: ProcessStatus, to: ProcessStatus): boolean =>
	(moves[from] as readonly ProcessStatus[]).includes(to);

const wire: Record<ProcessStatus, Status> = {
	added: Status.CREATED,
	restorable: Status.CREATED,
	created: Status.CREATED,
	starting: Status.CREATED,
	running: Status.RUNNING,
	pausing: Status.PAUSING,
	paused: Status.PAUSED,
	stopped: Status.STOPPED,
};

/** containerd.v1.types.Status */
export const toWireStatus = (status: ProcessStatus): Status => wire[status];
