import { type Process, Status } from "../gen/containerd/types/task/task.ts";

const names = new Map<number, string>(
	Object.entries(Status).map(([name, number]) => [number as number, name.toLowerCase()]),
);

/** `running`, `stopped (137)` …; a container without a task is `defined`. */
export function statusText(process: Process | undefined): string {
	if (process === undefined) return "defined";
	const name = names.get(process.status) ?? "unknown";
	return process.status === Status.STOPPED ? `${name} (${process.exitStatus})` : name;
}
