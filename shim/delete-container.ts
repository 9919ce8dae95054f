import { DaemonError } from "../src/errors/daemon-error.ts";
import { unmountAll } from "../src/sys/mounts.ts";
import type { Container } from "./container.ts";
import { removeRecord } from "./container-record.ts";
import type { Exit } from "./exit.ts";
import type { ContainerProcess } from "./process.ts";
import { toTimestamp, within } from "./time.ts";

/** After a kill the exit comes at once; an uninterruptible process may take its time. */
const exitMs = 10_000;

export interface Deleted {
	readonly pid: number;
	readonly exit: Exit | undefined;
}

/** Deletes a process that does not run: an exec, or the init and with it the container. */
export const deleteProcess = (container: Container, execId: string, timeoutMs: number | undefined): Promise<Deleted> =>
	container.take(() =>
		execId === "" ? deleteInit(container, timeoutMs) : deleteExec(container, container.process(execId)),
	);

async function deleteExec(container: Container, process: ContainerProcess): Promise<Deleted> {
	const exit = process.status === "added" ? undefined : await exitOf(process);
	await process.stdio?.close();
	container.execs.delete(process.execId);
	container.context.standby.releaseProcess(container.id, process.execId);
	container.removeProcessFiles(process.execId);
	container.save();
	return { pid: process.pid, exit };
}

async function deleteInit(container: Container, timeoutMs: number | undefined): Promise<Deleted> {
	const { init, context } = container;
	if (init.status === "created") await container.discard(timeoutMs); // kills what waits before its program
	const exit = init.status === "restorable" ? undefined : await exitOf(init);
	if (exit !== undefined) {
		if (!container.parts.ownPidNamespace) container.killAll(9);
		await container.clear(timeoutMs);
	}
	// Execs that outlived the init (it had no pid namespace of its own) have been killed: their exits are reported too.
	await within(exitMs, Promise.all([...container.execs.values()].filter(isMade).map(({ exited }) => exited)));
	container.oom?.close();
	unmountAll(context.kernel, container.rootfs);
	await Promise.all(container.processes.map((process) => process.stdio?.close()));
	for (const process of container.processes) {
		process.letGo();
		context.standby.releaseProcess(container.id, process.execId);
		container.removeProcessFiles(process.execId);
	}
	removeRecord(container.bundle);
	container.leave();
	const { status: exitStatus = 0, at = 0n } = exit ?? {};
	const exitedAt = exit === undefined ? undefined : toTimestamp(at);
	container.publish("TaskDelete", { containerId: container.id, pid: init.pid, exitStatus, exitedAt, id: container.id });
	return { pid: init.pid, exit };
}

const isMade = (process: ContainerProcess): boolean => process.pid !== 0;

/** The exit of a process that has ended or is just being killed. FailedPrecondition for one that runs. */
async function exitOf(process: ContainerProcess): Promise<Exit> {
	if (process.status !== "stopped" && process.status !== "created" && !process.ending)
		throw new DaemonError("FailedPrecondition", process.identity, `cannot be deleted while it is ${process.status}`);
	const exit = await within(exitMs, process.exited);
	if (exit === undefined)
		throw new DaemonError("DeadlineExceeded", process.identity, `process ${process.pid} was killed but does not end`);
	return exit;
}
