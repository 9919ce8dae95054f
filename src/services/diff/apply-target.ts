import { DaemonError } from "../../errors/daemon-error.ts";
import type { Mount } from "../../sys/mounts.ts";

export interface ApplyTarget {
	/** The directory that the layer goes into. */
	readonly directory: string;
	readonly whiteouts: "overlay" | "overlay-userxattr";
}

/**
 * Where a layer goes that is applied to `mounts`, without mounting them: into the upper directory of an overlay, or the
 * source of a writable bind mount (a snapshot without a parent). Unimplemented for other mounts; InvalidArgument for an
 * overlay that nobody may write to.
 */
export function applyTarget(mounts: readonly Mount[]): ApplyTarget {
	const [mount] = mounts;
	const identity = { kind: "mounts", id: mounts.map(({ type }) => type).join("+") };
	if (mount === undefined) throw new DaemonError("InvalidArgument", identity, "there is nothing to apply the diff to");
	const isOverlay = mount.type === "overlay";
	const isBind = mount.type === "bind" || mount.options.some((option) => option === "bind" || option === "rbind");
	if (mounts.length !== 1 || mount.target !== "" || !(isOverlay || isBind))
		throw new DaemonError("Unimplemented", identity, "a diff can be applied to one overlay or bind mount only");
	if (mount.options.includes("ro")) throw new DaemonError("InvalidArgument", identity, "the mount is read-only");
	const directory = isBind ? mount.source : option(mount, "upperdir");
	if (directory === undefined)
		throw new DaemonError("InvalidArgument", identity, "the overlay has no upperdir: it is read-only");
	if (!directory.startsWith("/"))
		throw new DaemonError("InvalidArgument", identity, `"${directory}" is not an absolute path`);
	return { directory, whiteouts: mount.options.includes("userxattr") ? "overlay-userxattr" : "overlay" };
}

const option = ({ options }: Mount, name: string): string | undefined =>
	options.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
