import { constants } from "node:os";
import { DaemonError } from "../errors/daemon-error.ts";
import { ContainersDefinition } from "../gen/containerd/services/containers/v1/containers.ts";
import { TasksDefinition } from "../gen/containerd/services/tasks/v1/tasks.ts";
import type { DaemonConnection } from "./daemon-connection.ts";
import { parseSignal } from "./option-values.ts";
import { stopSignalLabel } from "./run/container-creation.ts";

/** SIGKILL cannot be refused; a process in uninterruptible sleep still can outlast it. */
const killTimeoutMs = 10_000;

/** Sends the image's stop signal, and SIGKILL when the container has not ended `graceMs` later. Resolves with its exit code. */
export async function stopTask(daemon: DaemonConnection, containerId: string, graceMs: number): Promise<number> {
	const { container } = await daemon.service(ContainersDefinition).get({ id: containerId });
	const signal = parseSignal(container?.labels[stopSignalLabel] ?? "SIGTERM");
	const ended = await endWithin(daemon, containerId, signal, graceMs);
	if (ended !== undefined) return ended;
	const killed = await endWithin(daemon, containerId, constants.signals.SIGKILL, killTimeoutMs);
	if (killed !== undefined) return killed;
	throw new DaemonError(
		"DeadlineExceeded",
		{ kind: "task", id: containerId },
		`still there ${killTimeoutMs} ms after SIGKILL: its process hangs in the kernel`,
	);
}

/** The exit code, if the task ends in time. One that has ended already answers at once. */
export async function endWithin(
	daemon: DaemonConnection,
	containerId: string,
	signal: number,
	limitMs: number,
): Promise<number | undefined> {
	const tasks = daemon.service(TasksDefinition);
	const exit = tasks.wait({ containerId }, { timeoutMs: Math.max(1, limitMs) });
	exit.catch(() => {}); // a kill that is refused comes first
	try {
		await tasks.kill({ containerId, signal });
	} catch (error) {
		if (!isFinished(error)) throw error;
	}
	try {
		return (await exit).exitStatus;
	} catch (error) {
		if (error instanceof DaemonError && error.code === "DeadlineExceeded") return undefined;
		throw error;
	}
}

/** The words are containerd's: clients tell a finished process from an unknown one by them. */
const isFinished = (error: unknown): boolean =>
	error instanceof DaemonError && error.code === "NotFound" && error.problem.includes("already finished");
