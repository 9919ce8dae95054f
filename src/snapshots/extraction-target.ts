import { DaemonError } from "../errors/daemon-error.ts";
import type { Mount } from "../sys/mounts.ts";

/** Where a layer is extracted so that it becomes an active snapshot's content. */
export interface ExtractionTarget {
	readonly targetDir: string;
	readonly whiteouts: "overlay" | "overlay-userxattr";
}

/**
 * The directory behind the mounts of an active snapshot of the overlay snapshotter: layers are extracted right into it,
 * without a mount. Undefined for mounts of other shapes: mount those first. Throws InvalidArgument for read-only ones.
 */
export function extractionTarget(mounts: readonly Mount[]): ExtractionTarget | undefined {
	const [mount, ...more] = mounts;
	if (mount === undefined || more.length > 0) return undefined;
	if (mount.type === "bind" || mount.options.includes("bind") || mount.options.includes("rbind")) {
		if (mount.options.includes("ro")) throw readOnly(mount);
		return { targetDir: mount.source, whiteouts: "overlay" };
	}
	if (mount.type !== "overlay") return undefined;
	const upper = mount.options.find((option) => option.startsWith("upperdir="));
	if (upper === undefined) throw readOnly(mount);
	const whiteouts = mount.options.includes("userxattr") ? "overlay-userxattr" : "overlay";
	return { targetDir: upper.slice("upperdir=".length), whiteouts };
}

const readOnly = ({ source }: Mount): DaemonError =>
	new DaemonError("InvalidArgument", { kind: "mount", id: source }, "read-only: nothing can be extracted into it");
