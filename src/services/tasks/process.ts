import type { ProcessState, TaskStatus } from "../../../actors/task-manager/tasks.ts";
import { type Process, Status } from "../../gen/containerd/types/task/task.ts";
import { toOptionalTimestamp } from "../wire.ts";

const statuses = {
	unknown: Status.UNKNOWN,
	created: Status.CREATED,
	running: Status.RUNNING,
	stopped: Status.STOPPED,
	paused: Status.PAUSED,
	pausing: Status.PAUSING,
} as const satisfies Record<TaskStatus, Status>;

/** A process as clients see it; `id` is the exec id, or the container's id for the init. */
export const toWireProcess = (process: ProcessState): Process => ({
	containerId: process.id,
	id: process.execId === "" ? process.id : process.execId,
	pid: process.pid,
	status: statuses[process.status],
	stdin: process.stdin,
	stdout: process.stdout,
	stderr: process.stderr,
	terminal: process.terminal,
	exitStatus: process.exitStatus,
	exitedAt: toOptionalTimestamp(process.exitedAt),
});
