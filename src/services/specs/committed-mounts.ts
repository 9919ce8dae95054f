import { randomUUID } from "node:crypto";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { Snapshotters } from "../../metadata/snapshotters.ts";
import type { Mount } from "../../sys/mounts.ts";

/**
 * Mounts that show a committed snapshot: those of a view on it, which is removed at once. Its directories stay, since they
 * are the parents'. Errors: NotFound; InvalidArgument for an unknown snapshotter.
 */
export const committedMounts =
	(snapshotters: Snapshotters) =>
	async (namespace: string, snapshotter: string, name: string): Promise<readonly Mount[]> => {
		const snapshots = snapshotters.named(snapshotter);
		snapshots.stat(namespace, name);
		const key = `spec-${randomUUID()} ${name}`;
		const mounts = await snapshots.view({ namespace }, key, name);
		try {
			await snapshots.remove({ namespace }, key);
		} catch (reason) {
			// Nothing refers to the view: the collector may have been faster.
			if (!(reason instanceof DaemonError) || reason.code !== "NotFound") throw reason;
		}
		return mounts;
	};
