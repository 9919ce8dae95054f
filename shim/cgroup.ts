import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { failedWith } from "../src/sys/sys-error.ts";

/** Mounted hierarchies: for each v1 controller its mount point, and the one of v2 if there is any. */
interface Hierarchies {
	readonly v1: ReadonlyMap<string, { readonly mountPoint: string; readonly root: string }>;
	readonly v2: { readonly mountPoint: string; readonly root: string } | undefined;
}

/** proc(5), /proc/PID/mountinfo: … root mount-point options … - type source super-options */
export function parseHierarchies(mountinfo: string): Hierarchies {
	const v1 = new Map<string, { mountPoint: string; root: string }>();
	let v2: Hierarchies["v2"];
	for (const line of mountinfo.split("\n")) {
		const [before, after] = line.split(" - ");
		const [, , , root, mountPoint] = before?.split(" ") ?? [];
		const [type, , options] = after?.split(" ") ?? [];
		if (root === undefined || mountPoint === undefined) continue;
		if (type === "cgroup2") v2 ??= { mountPoint, root };
		if (type === "cgroup")
			for (const controller of options?.split(",") ?? [])
				if (!v1.has(controller)) v1.set(controller, { mountPoint, root });
	}
	return { v1, v2 };
}

/** /proc/PID/cgroup: `4:memory:/path` for v1, `0::/path` for v2. Directories by controller; `""` is v2's. */
export function directoriesOf(cgroupFile: string, { v1, v2 }: Hierarchies): ReadonlyMap<string, string> {
	const directories = new Map<string, string>();
	for (const line of cgroupFile.split("\n")) {
		const [number, controllers, ...path] = line.split(":");
		if (controllers === undefined) continue;
		const where = path.join(":");
		if (number === "0" && controllers === "") {
			if (v2 !== undefined) directories.set("", below(v2, where));
			continue;
		}
		for (const controller of controllers.split(",")) {
			const hierarchy = v1.get(controller);
			if (hierarchy !== undefined) directories.set(controller, below(hierarchy, where));
		}
	}
	return directories;
}

const below = ({ mountPoint, root }: { mountPoint: string; root: string }, path: string): string =>
	join(mountPoint, root !== "/" && path.startsWith(root) ? path.slice(root.length) : path);

let known: Hierarchies | undefined;

/** Mountinfo is long where many containers run: it is read again only for a hierarchy that was not mounted before. */
function hierarchiesFor(cgroupFile: string): Hierarchies {
	if (known === undefined || !knowsAll(known, cgroupFile))
		known = parseHierarchies(readFileSync("/proc/self/mountinfo", "utf8"));
	return known;
}

const knowsAll = ({ v1, v2 }: Hierarchies, cgroupFile: string): boolean =>
	cgroupFile.split("\n").every((line) => {
		const [number, controllers] = line.split(":");
		if (controllers === undefined) return true;
		const mountPoints =
			number === "0" && controllers === ""
				? [v2?.mountPoint]
				: controllers.split(",").map((controller) => v1.get(controller)?.mountPoint);
		return mountPoints.every((mountPoint) => mountPoint !== undefined && existsSync(join(mountPoint, "cgroup.procs")));
	});

/** The control group of a container, as the kernel shows it for its init process. */
export class Cgroup {
	/** 2 on a unified host; 1 where the memory controller is on v1 (hybrid hosts too). */
	readonly version: 1 | 2;
	readonly #directories: ReadonlyMap<string, string>;

	constructor(directories: ReadonlyMap<string, string>) {
		this.#directories = directories;
		this.version = [...directories.keys()].some((name) => name !== "" && !name.startsWith("name=")) ? 1 : 2;
	}

	/** Throws ENOENT or ESRCH if the process is gone. */
	static ofProcess(pid: number): Cgroup {
		const file = readFileSync(`/proc/${pid}/cgroup`, "utf8");
		return new Cgroup(directoriesOf(file, hierarchiesFor(file)));
	}

	/** As kept in the container's record. */
	static fromRecord(directories: Readonly<Record<string, string>>): Cgroup {
		return new Cgroup(new Map(Object.entries(directories)));
	}

	toRecord(): Readonly<Record<string, string>> {
		return Object.fromEntries(this.#directories);
	}

	/** The directory of a v1 controller, or v2's one directory whatever is asked for. */
	directory(controller: string): string | undefined {
		return this.#directories.get(this.version === 2 ? "" : controller);
	}

	/** A file's text, or undefined where the kernel has none (controller not enabled, group gone). */
	read(controller: string, file: string): string | undefined {
		const directory = this.directory(controller);
		return directory === undefined ? undefined : readIfThere(join(directory, file));
	}

	/** Names of a controller's files; none when the group is gone. */
	files(controller: string): readonly string[] {
		const directory = this.directory(controller);
		if (directory === undefined) return [];
		try {
			return readdirSync(directory);
		} catch (reason) {
			if (failedWith(reason, "ENOENT", "ENODEV")) return [];
			throw reason;
		}
	}

	/** Its directories in all hierarchies where it is not that of this process itself: those that were made for it. */
	own(): readonly string[] {
		const ours = new Set(Cgroup.ofProcess(process.pid).#directories.values());
		return [...new Set(this.#directories.values())].filter((directory) => !ours.has(directory));
	}

	/** Whether its processes are frozen; undefined where the kernel does not say. */
	get frozen(): boolean | undefined {
		if (this.version === 1) {
			const state = this.read("freezer", "freezer.state");
			return state === undefined ? undefined : state.trim() !== "THAWED";
		}
		const state = this.read("", "cgroup.freeze");
		return state === undefined ? undefined : state.trim() === "1";
	}

	/** All processes of the group and of the groups below it; none when it is gone. */
	pids(): readonly number[] {
		const directory = this.directory("pids") ?? this.directory("memory") ?? this.directory("devices");
		return directory === undefined ? [] : pidsBelow(directory);
	}
}

function pidsBelow(directory: string): number[] {
	const own = (readIfThere(join(directory, "cgroup.procs")) ?? "").split("\n").filter((line) => line !== "");
	return [...own.map(Number), ...groupsBelow(directory).flatMap((name) => pidsBelow(join(directory, name)))];
}

function groupsBelow(directory: string): string[] {
	try {
		return readdirSync(directory, { withFileTypes: true })
			.filter((entry) => entry.isDirectory())
			.map(({ name }) => name);
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ENODEV")) return [];
		throw reason;
	}
}

function readIfThere(path: string): string | undefined {
	try {
		return readFileSync(path, "utf8");
	} catch (reason) {
		// EOPNOTSUPP: cgroup.procs of a threaded v2 group; ENODEV: the group vanishes while it is read
		if (failedWith(reason, "ENOENT", "ENODEV", "EOPNOTSUPP", "ENOTDIR")) return undefined;
		throw reason;
	}
}
