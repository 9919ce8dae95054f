import type { ProcessContext } from "../../machines/process.machine.ts";
import type { TaskContext } from "../../machines/task-messages.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import type { ProcessState, TaskStatus } from "./tasks.ts";

/** States of the task machine in the words of the API; a state that is not listed is not shown: there is no task yet. */
const taskStatuses: Readonly<Record<string, TaskStatus>> = {
	created: "created",
	starting: "created",
	scrapping: "created",
	running: "running",
	pausing: "pausing",
	paused: "paused",
	resuming: "paused",
	stopped: "stopped",
	deleting: "stopped",
	shimLost: "unknown",
	reconciling: "unknown",
	unknown: "unknown",
};

const processStatuses: Readonly<Record<string, TaskStatus>> = {
	added: "created",
	starting: "created",
	running: "running",
	stopped: "stopped",
	deleting: "stopped",
	orphaned: "running",
	ended: "stopped",
	shimLost: "unknown",
	reconciling: "unknown",
	unknown: "unknown",
};

/** What an actor's record says of its process; undefined where it is not to be seen (being created or discarded). */
export function taskStateOf(record: Value | undefined): ProcessState | undefined {
	const read = contentOf<TaskContext>(record);
	const status = read && taskStatuses[read.value];
	if (read === undefined || status === undefined) return undefined;
	return { ...stateOf(read.context, status), execId: "", bundle: read.context.bundle };
}

export function execStateOf(record: Value | undefined, bundle: string): ProcessState | undefined {
	const read = contentOf<ProcessContext>(record);
	const status = read && processStatuses[read.value];
	if (read === undefined || status === undefined) return undefined;
	return { ...stateOf(read.context, status), execId: read.context.execId, bundle };
}

const stateOf = (
	{ namespace, id, stdin, stdout, stderr, terminal, pid, exit }: TaskContext | ProcessContext,
	status: TaskStatus,
) => ({
	namespace,
	id,
	stdin,
	stdout,
	stderr,
	terminal,
	pid,
	status,
	exitStatus: exit?.exitStatus ?? 0,
	exitedAt: exit?.exitedAt ?? 0n,
});

/** The content of an actor's record (actors/kernel/record.ts). */
export const contentOf = <Context>(record: Value | undefined) =>
	record as unknown as { readonly value: string; readonly context: Context } | undefined;
