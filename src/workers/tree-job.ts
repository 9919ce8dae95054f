import { constants } from "node:fs";
import { basename, dirname } from "node:path";
import { type DiskUsage, diskUsage } from "../diff/disk-usage.ts";
import { cBytes, O_CLOEXEC } from "../diff/file-bytes.ts";
import { inheritDirectories } from "../diff/inherit-directories.ts";
import { removeTree } from "../diff/remove-tree.ts";
import type { Kernel } from "../sys/kernel.ts";
import { type Mount, mountAll, unmountAll } from "../sys/mounts.ts";
import { JobMonitor, type JobSignals } from "./job-signals.ts";

/** Work on whole trees, and mounts: whatever would block the event loop. */
export type TreeJob =
	| { readonly kind: "remove"; readonly path: string; readonly signals: JobSignals }
	| { readonly kind: "usage"; readonly path: string; readonly signals: JobSignals }
	| {
			readonly kind: "inherit";
			readonly layer: string;
			readonly lowers: readonly string[];
			readonly paths: readonly Uint8Array[];
	  }
	| { readonly kind: "mount"; readonly mounts: readonly Mount[]; readonly target: string }
	| { readonly kind: "unmount"; readonly target: string };

export function runTreeJob(kernel: Kernel, job: TreeJob): DiskUsage | undefined {
	switch (job.kind) {
		case "remove":
			removePath(kernel, job.path, new JobMonitor(job.signals, job.path));
			return undefined;
		case "usage": {
			const monitor = new JobMonitor(job.signals, job.path);
			return diskUsage(kernel, job.path, () => monitor.check());
		}
		case "inherit":
			inheritDirectories(kernel, job.layer, job.lowers, job.paths);
			return undefined;
		case "mount":
			mountAll(kernel, job.mounts, job.target);
			return undefined;
		case "unmount":
			unmountAll(kernel, job.target);
			return undefined;
	}
}

function removePath(kernel: Kernel, path: string, monitor: JobMonitor): void {
	const parent = kernel.open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC, 0);
	try {
		removeTree(kernel, parent, cBytes(Buffer.from(basename(path)).toString("latin1")), () => monitor.check());
	} finally {
		kernel.close(parent);
	}
}
