import { access, readFile } from "node:fs/promises";
import type { Mount } from "../sys/mounts.ts";
import type { SnapshotKind } from "./snapshotter.ts";

/** Options that the kernel's overlayfs wants here. */
export interface OverlaySupport {
	/** `index=off`: without it, the same lower directory in many mounts is refused on some kernels. */
	readonly indexOff: boolean;
	/** `userxattr`: in a user namespace `trusted.*` attributes cannot be written (Linux 5.11). */
	readonly userxattr: boolean;
}

/** Looks at the kernel and the user namespace that this process is in. */
export async function overlaySupport(): Promise<OverlaySupport> {
	const indexOff = await access("/sys/module/overlay/parameters/index").then(
		() => true,
		() => false,
	);
	const map = await readFile("/proc/self/uid_map", "utf8");
	return { indexOff, userxattr: !/^\s*0\s+0\s+4294967295\s*$/.test(map) };
}

/** Where the parts of a snapshot are. */
export interface OverlayPaths {
	/** Its own files. */
	readonly upper: string;
	readonly work: string;
	/** The `fs` directories of its parents, nearest first. */
	readonly lowers: readonly string[];
}

/**
 * How a snapshot is mounted, in containerd's shapes (plugins/snapshots/overlay): clients compare them. No parent: a bind
 * mount of its own directory; a view on one parent: a read-only bind mount of that; else an overlay.
 */
export function overlayMounts(kind: SnapshotKind, paths: OverlayPaths, support: OverlaySupport): readonly Mount[] {
	const { upper, work, lowers } = paths;
	const [parent] = lowers;
	const bind = (source: string, access: "ro" | "rw"): readonly Mount[] => [
		{ type: "bind", source, target: "", options: [access, "rbind"] },
	];
	if (parent === undefined) return bind(upper, kind === "view" ? "ro" : "rw");
	if (kind === "view" && lowers.length === 1) return bind(parent, "ro");
	const options = [
		...(support.indexOff ? ["index=off"] : []),
		...(support.userxattr ? ["userxattr"] : []),
		...(kind === "active" ? [`workdir=${work}`, `upperdir=${upper}`] : []),
		`lowerdir=${lowers.join(":")}`,
	];
	return [{ type: "overlay", source: "overlay", target: "", options }];
}
