import type { DiskUsage } from "../diff/disk-usage.ts";
import { nativeKernel } from "../sys/native-kernel.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";
import { runTreeJob, type TreeJob } from "./tree-job.ts";

const CLONE_FS = 0x200;
// A current directory of its own, for mounts with many layers (mounts.ts). Where a sandbox forbids it, the process's is
// changed for the moment of the call.
try {
	nativeKernel.unshare(CLONE_FS);
} catch (reason) {
	process.emitWarning(`tree worker: no current directory of its own: ${reason}`);
}

const objectOf = (job: TreeJob) => ({
	kind: job.kind === "mount" || job.kind === "unmount" ? "mount" : "directory",
	id: "path" in job ? job.path : "layer" in job ? job.layer : job.target,
});

export default (job: TreeJob): Promise<Outcome<DiskUsage | undefined>> =>
	outcomeOf(objectOf(job), () => runTreeJob(nativeKernel, job));
