import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DaemonError } from "../src/errors/daemon-error.ts";
import { parseHierarchies } from "./cgroup.ts";

/**
 * `shim_cgroup` of the runtime options is the control group of the shim, and a shard is the shim of many: only containers
 * that ask for the same share one. It is a part of the group's name, so that an heir asks for it as well. Ids have no "@".
 */
export const groupInCgroup = (group: string, cgroup: string): string => (cgroup === "" ? group : `${group}@${cgroup}`);

export function cgroupOfGroup(group: string): string {
	const at = group.indexOf("@");
	return at < 0 ? "" : group.slice(at + 1);
}

/**
 * The directories of a control group: in every v1 hierarchy that has it, or in v2's one. As with containerd's shim it must
 * exist, FailedPrecondition otherwise: nobody would remove one that we make.
 */
export function cgroupDirectories(path: string, mountinfo = readFileSync("/proc/self/mountinfo", "utf8")): string[] {
	const { v1, v2 } = parseHierarchies(mountinfo);
	const mounts = v1.size > 0 ? [...v1.values()] : v2 === undefined ? [] : [v2];
	const directories = [...new Set(mounts.map(({ mountPoint }) => join(mountPoint, join("/", path))))];
	const there = directories.filter((directory) => existsSync(join(directory, "cgroup.procs")));
	if (there.length === 0)
		throw new DaemonError("FailedPrecondition", { kind: "control group", id: path }, "does not exist (shim_cgroup)");
	return there;
}

/** Moves a process, with all its threads. */
export function enterCgroup(pid: number, directories: readonly string[]): void {
	for (const directory of directories) writeFileSync(join(directory, "cgroup.procs"), String(pid));
}
