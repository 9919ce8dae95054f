import { writeFile } from "node:fs/promises";
import { DaemonError } from "../errors/daemon-error.ts";

/**
 * Sets the daemon's score for the kernel's out-of-memory killer, -1000 (never) to 1000 (first); 0 leaves it as it is. Errors:
 * PermissionDenied for a score below the one that the daemon was started with, without CAP_SYS_RESOURCE.
 */
export async function applyOomScore(score: number, file = "/proc/self/oom_score_adj"): Promise<void> {
	if (score === 0) return;
	try {
		await writeFile(file, String(score));
	} catch (reason) {
		const { code } = DaemonError.from(reason, { kind: "oom_score", id: String(score) });
		const problem =
			code === "PermissionDenied"
				? "to lower it takes CAP_SYS_RESOURCE; leave oom_score out, or start with that capability"
				: `cannot be written to ${file}: ${reason}`;
		throw new DaemonError(code, { kind: "oom_score", id: String(score) }, problem, { cause: reason });
	}
}
