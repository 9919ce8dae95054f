import { nativeKernel } from "../sys/native-kernel.ts";
import { type Outcome, outcomeOf } from "./outcome.ts";
import { type UnpackJob, unpackLayer } from "./unpack-job.ts";
import type { Unpacked } from "./unpacker.ts";

const CLONE_FS = 0x200;

/**
 * Gives this thread a umask of its own, 0, so that files are made with their final mode. Other threads keep theirs
 * (unshare(2), CLONE_FS). Where a sandbox forbids it, modes are set file by file.
 */
function takeOwnUmask(): boolean {
	try {
		nativeKernel.unshare(CLONE_FS);
	} catch {
		return false;
	}
	nativeKernel.umask(0);
	return true;
}

const umaskIsZero = takeOwnUmask();

export default (job: UnpackJob): Promise<Outcome<Unpacked>> =>
	outcomeOf({ kind: "layer", id: job.request.targetDir }, () => unpackLayer(nativeKernel, umaskIsZero, job));
