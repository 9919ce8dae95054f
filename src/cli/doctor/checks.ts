import type { HostFacts } from "./host-facts.ts";

export interface Finding {
	readonly subject: string;
	/** `ok`; `note`: something is slower or absent, containers run; `missing`: containers do not run. */
	readonly verdict: "ok" | "note" | "missing";
	readonly detail: string;
	/** What to do about it. */
	readonly remedy?: string;
}

type Check = (facts: HostFacts) => Finding;

const ok = (subject: string, detail: string): Finding => ({ subject, verdict: "ok", detail });
const note = (subject: string, detail: string, remedy: string): Finding => ({
	subject,
	verdict: "note",
	detail,
	remedy,
});
const missing = (subject: string, detail: string, remedy: string): Finding => ({
	subject,
	verdict: "missing",
	detail,
	remedy,
});

/** The first kernel with PIDFD_GET_INFO's exit status (Linux 6.15, fs/pidfs.c). */
const pidfdInfoKernel = [6, 15] as const;
/** Bits of the capability mask (include/uapi/linux/capability.h). */
const capability = { SYS_ADMIN: 21n, SYS_RESOURCE: 24n } as const;

const user: Check = ({ isRoot }) =>
	isRoot ? ok("user", "root") : missing("user", "not root", "run trouped as root: it mounts and makes namespaces");

const kernel: Check = ({ kernel: version }) => {
	const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
	const [wantedMajor, wantedMinor] = pidfdInfoKernel;
	return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
		? ok("kernel", `${version}: exit codes can be asked of a pidfd`)
		: note(
				"kernel",
				`${version} is older than 6.15: if the daemon, a shim and the standby shim are all killed before a container exits, its exit code is unknown`,
				"nothing, unless all of them are killed at once; or a kernel from 6.15 on",
			);
};

const overlay: Check = ({ filesystems }) =>
	/^nodev\s+overlay$/m.test(filesystems)
		? ok("overlay", "the kernel has it")
		: missing("overlay", "not in /proc/filesystems", "modprobe overlay (and put it into /etc/modules-load.d)");

const capabilities: Check = ({ status }) => {
	const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
	const has = (bit: bigint): boolean => ((mask >> bit) & 1n) === 1n;
	if (!has(capability.SYS_ADMIN))
		return missing("capabilities", "CAP_SYS_ADMIN is missing", "start the daemon with full capabilities");
	return has(capability.SYS_RESOURCE)
		? ok("capabilities", "CAP_SYS_ADMIN, CAP_SYS_RESOURCE")
		: note(
				"capabilities",
				"CAP_SYS_RESOURCE is missing: limits cannot be raised, and oom_score_adj not lowered",
				"nothing: the daemon clamps oom_score_adj to its own; or grant CAP_SYS_RESOURCE",
			);
};

export type CgroupLayout = "unified" | "hybrid" | "legacy" | "none";

export function cgroupLayout(mounts: string): CgroupLayout {
	const types = [...mounts.matchAll(/^\S+ (\/sys\/fs\/cgroup\S*) (cgroup2?) /gm)];
	const legacy = types.some(([, , type]) => type === "cgroup");
	const unified = types.some(([, , type]) => type === "cgroup2");
	if (legacy) return unified ? "hybrid" : "legacy";
	return unified ? "unified" : "none";
}

const cgroups: Check = (facts) => {
	const layout = cgroupLayout(facts.mounts);
	if (layout === "none")
		return missing("cgroups", "nothing is mounted below /sys/fs/cgroup", "mount -t cgroup2 cgroup2 /sys/fs/cgroup");
	const memory =
		layout === "unified"
			? facts.unifiedControllers.split(/\s+/).includes("memory")
			: /^cgroup \S+ cgroup \S*\bmemory\b/m.test(facts.mounts);
	return memory
		? ok("cgroups", layout)
		: note("cgroups", `${layout}, without the memory controller: --memory fails`, "boot with cgroup_enable=memory");
};

const runtimes: Check = (facts) => {
	const { crun, runc } = facts.programs;
	if (crun === undefined && runc === undefined)
		return missing("OCI runtime", "neither crun nor runc is installed", "apt-get install crun");
	const stray = facts.unifiedControllers.split(/\s+/).filter((name) => name !== "");
	if (crun !== undefined && cgroupLayout(facts.mounts) === "hybrid" && stray.length > 0) {
		const mounts = stray
			.map((name) => `mkdir -p /sys/fs/cgroup/${name} && mount -t cgroup -o ${name} cgroup /sys/fs/cgroup/${name}`)
			.join(" && ");
		const detail = `crun refuses this hybrid cgroup layout: v2 still owns ${stray.join(", ")}`;
		return runc === undefined
			? missing("OCI runtime", detail, `${mounts}; or apt-get install runc`)
			: note("OCI runtime", `${detail}; runc serves instead, at about twice the time`, mounts);
	}
	if (crun === undefined)
		return note("OCI runtime", `only ${runc}: crun takes about half its time`, "apt-get install crun");
	return ok("OCI runtime", [crun, runc].filter((version) => version !== undefined).join("; "));
};

const gunzip: Check = ({ programs }) =>
	programs.igzip !== undefined
		? ok("gunzip", "igzip")
		: note("gunzip", "igzip is not installed: layers are inflated at half the speed", "apt-get install isal");

const rootFilesystem: Check = ({ mounts }) => {
	const under = [...mounts.matchAll(/^\S+ (\S+) (\S+) /gm)]
		.map(([, path = "", type = ""]) => ({ path, type }))
		.filter(({ path }) => path === "/" || "/var/lib/troupe/".startsWith(`${path}/`))
		.sort((a, b) => b.path.length - a.path.length)[0];
	return under?.type === "overlay"
		? missing(
				"root directory",
				"/var/lib/troupe is on an overlay, which cannot be the upper layer of another",
				"trouped --root DIR with a directory on ext4, xfs, btrfs or tmpfs",
			)
		: ok("root directory", `/var/lib/troupe is on ${under?.type ?? "an unknown file system"}`);
};

const network: Check = ({ cniPlugins, ipForward }) => {
	if (cniPlugins === undefined)
		return note(
			"pod network",
			"no CNI plugins found: pods have no network",
			"apt-get install containernetworking-plugins",
		);
	return ipForward.trim() === "1"
		? ok("pod network", `plugins in ${cniPlugins}, forwarding is on`)
		: note("pod network", "net.ipv4.ip_forward is off: pods reach the host only", "sysctl -w net.ipv4.ip_forward=1");
};

const checkpoint: Check = ({ programs }) =>
	programs.criu !== undefined
		? ok("checkpoint", programs.criu || "criu")
		: note("checkpoint", "criu is not installed: tasks cannot be checkpointed", "apt-get install criu");

const checks: readonly Check[] = [
	user,
	kernel,
	capabilities,
	overlay,
	cgroups,
	runtimes,
	rootFilesystem,
	gunzip,
	network,
	checkpoint,
];

export const findings = (facts: HostFacts): Finding[] => checks.map((check) => check(facts));
