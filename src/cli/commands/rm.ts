import { constants } from "node:os";
import { DaemonError } from "../../errors/daemon-error.ts";
import { ContainersDefinition } from "../../gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../../gen/containerd/services/snapshots/v1/snapshots.ts";
import { TasksDefinition } from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { type DaemonConnection, withDaemon } from "../daemon-connection.ts";
import type { Target } from "../target.ts";
import { endWithin } from "../task-end.ts";
import { unlessMissing } from "../unless-missing.ts";

const killTimeoutMs = 10_000;

/** `troupe rm`: deletes containers with their tasks and snapshots; running ones only with `force`, which kills them. */
export async function rm(
	target: Target,
	ids: readonly string[],
	{ force = false }: { readonly force?: boolean },
): Promise<void> {
	await withDaemon(target, async (daemon) => {
		for (const id of ids) {
			await removeContainer(daemon, id, force);
			process.stdout.write(`${id}\n`);
		}
	});
}

async function removeContainer(daemon: DaemonConnection, id: string, force: boolean): Promise<void> {
	const containers = daemon.service(ContainersDefinition);
	const { container } = await containers.get({ id });
	if (force) await unlessMissing(() => endWithin(daemon, id, constants.signals.SIGKILL, killTimeoutMs));
	await unlessMissing(async () => {
		try {
			await daemon.service(TasksDefinition).delete({ containerId: id });
		} catch (error) {
			if (!(error instanceof DaemonError) || error.code !== "FailedPrecondition" || force) throw error;
			const problem = `${error.problem}. Stop it first, or use --force`;
			throw new DaemonError(error.code, { kind: "container", id }, problem, { cause: error });
		}
	});
	await containers.delete({ id });
	const { snapshotter = "", snapshotKey = "" } = container ?? {};
	if (snapshotKey !== "")
		await unlessMissing(() => daemon.service(SnapshotsDefinition).remove({ snapshotter, key: snapshotKey }));
}
