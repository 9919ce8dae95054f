import { execFile } from "node:child_process";
import { access, constants, readFile } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** What the checks look at, as texts: reading is here, judging in checks.ts. */
export interface HostFacts {
	/** `6.18.44-amd64` */
	readonly kernel: string;
	/** Contents of files below /proc and /sys; a file that is not there is empty. */
	readonly filesystems: string;
	readonly mounts: string;
	/** /proc/cgroups */
	readonly cgroups: string;
	/** /proc/self/status */
	readonly status: string;
	/** Controllers of the unified hierarchy: of the whole host, or of the hybrid's `unified` part. */
	readonly unifiedControllers: string;
	readonly ipForward: string;
	readonly modules: string;
	/** First line of `PROGRAM --version`; undefined where the program is not found. */
	readonly programs: Readonly<Record<string, string | undefined>>;
	/** A directory with CNI plugins, if there is one. */
	readonly cniPlugins: string | undefined;
	readonly isRoot: boolean;
}

const programs = ["crun", "runc", "igzip", "unpigz", "criu", "nft", "iptables"] as const;
const cniDirectories = ["/opt/cni/bin", "/usr/lib/cni"] as const;
const programTimeoutMs = 5_000;

export async function hostFacts(): Promise<HostFacts> {
	const [filesystems, mounts, cgroups, status, wholeUnified, hybridUnified, ipForward, modules, versions, cni] =
		await Promise.all([
			text("/proc/filesystems"),
			text("/proc/mounts"),
			text("/proc/cgroups"),
			text("/proc/self/status"),
			text("/sys/fs/cgroup/cgroup.controllers"),
			text("/sys/fs/cgroup/unified/cgroup.controllers"),
			text("/proc/sys/net/ipv4/ip_forward"),
			text("/proc/modules"),
			Promise.all(programs.map(async (name) => [name, await versionOf(name)] as const)),
			Promise.all(cniDirectories.map(async (path) => ((await exists(join(path, "bridge"))) ? path : undefined))),
		]);
	return {
		kernel: release(),
		filesystems,
		mounts,
		cgroups,
		status,
		unifiedControllers: wholeUnified || hybridUnified,
		ipForward,
		modules,
		programs: Object.fromEntries(versions),
		cniPlugins: cni.find((path) => path !== undefined),
		isRoot: process.getuid?.() === 0,
	};
}

const text = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");
const exists = (path: string): Promise<boolean> =>
	access(path, constants.X_OK).then(
		() => true,
		() => false,
	);

async function versionOf(program: string): Promise<string | undefined> {
	try {
		const { stdout } = await promisify(execFile)(program, ["--version"], { timeout: programTimeoutMs });
		return stdout.split("\n")[0]?.trim() ?? "";
	} catch (error) {
		// a program that is there but does not know --version is there
		return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : "";
	}
}
