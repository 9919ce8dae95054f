import { DaemonError } from "../errors/daemon-error.ts";
import * as defaults from "./default-spec.ts";
import { defaultPath, mergeEnvironment } from "./environment.ts";
import type { ImageConfig } from "./image-config.ts";
import type { Capabilities, Mount, Process, Resources, Rlimit, Spec } from "./runtime-spec.ts";
import { resolveUser } from "./user.ts";
import type { UserDatabase } from "./user-database.ts";

/** What a caller may ask for. An absent field means the image's value or the default. */
export interface SpecOptions {
	readonly namespace: string;
	/** The container's id. */
	readonly id: string;
	/** The image's name, for error messages. */
	readonly image: string;
	/** Replaces the image's Cmd (the Entrypoint stays in front, as with docker and ctr). */
	readonly args?: readonly string[];
	/** Replaces the image's Entrypoint, and with it the image's Cmd. */
	readonly entrypoint?: readonly string[];
	/** `NAME=value` lines over the image's; `NAME` alone removes it. */
	readonly env?: readonly string[];
	readonly workingDir?: string;
	readonly user?: string;
	readonly hostname?: string;
	readonly terminal?: boolean;
	readonly readonlyRootfs?: boolean;
	/** After the default mounts, in this order; one on the destination of a default mount takes its place. */
	readonly mounts?: readonly Mount[];
	/** Mounts the container's cgroup read-only on /sys/fs/cgroup. Default false, as `ctr run`. */
	readonly cgroupMount?: boolean;
	/** Bytes. */
	readonly memoryLimit?: number;
	/** CPUs' worth of time per second: 1.5 is a quota of 150 ms in each 100 ms. */
	readonly cpus?: number;
	readonly cpuShares?: number;
	readonly pidsLimit?: number;
	readonly rlimits?: readonly Rlimit[];
	/** Added to the 14 defaults; `ALL` is refused, since the list depends on the kernel: name them. */
	readonly addCapabilities?: readonly string[];
	/** Taken from the defaults; `ALL` drops every one. */
	readonly dropCapabilities?: readonly string[];
	/** Default true. */
	readonly noNewPrivileges?: boolean;
	/** Shares the host's network, with its hosts and resolv.conf. Default false: an own, empty network namespace. */
	readonly hostNetwork?: boolean;
	/** True on a host with the unified cgroup hierarchy only, where containerd gives each container a cgroup namespace. */
	readonly cgroupNamespace?: boolean;
	/** Default `/<namespace>/<id>`. */
	readonly cgroupsPath?: string;
	readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * The runtime specification of a container: what `ctr run` would write for the same image and flags. Pure.
 *
 * @throws InvalidArgument when neither image nor options say what to run, or an option cannot be; NotFound for a user or
 * group that the image does not have.
 */
export function generateSpec(config: ImageConfig, options: SpecOptions, database: UserDatabase): Spec {
	const namespaces = defaults.defaultNamespaces
		.filter((type) => !(options.hostNetwork === true && type === "network"))
		.map((type) => ({ type }));
	return {
		ociVersion: defaults.ociVersion,
		process: processOf(config, options, database),
		root: { path: "rootfs", ...(options.readonlyRootfs === true ? { readonly: true } : {}) },
		...(options.hostname === undefined ? {} : { hostname: options.hostname }),
		mounts: mountsOf(options),
		...(options.annotations === undefined ? {} : { annotations: { ...options.annotations } }),
		linux: {
			resources: resourcesOf(options),
			cgroupsPath: options.cgroupsPath ?? `/${options.namespace}/${options.id}`,
			namespaces: options.cgroupNamespace === true ? [...namespaces, { type: "cgroup" }] : namespaces,
			maskedPaths: [...defaults.defaultMaskedPaths],
			readonlyPaths: [...defaults.defaultReadonlyPaths],
		},
	};
}

function processOf(config: ImageConfig, options: SpecOptions, database: UserDatabase): Process {
	const imageEnv = config.env.length > 0 ? config.env : [defaultPath];
	const env = mergeEnvironment(imageEnv, options.env ?? []);
	if (options.terminal === true && !env.some((line) => line.startsWith("TERM="))) env.push("TERM=xterm");
	const cwd = options.workingDir ?? (config.workingDir === "" ? "/" : config.workingDir);
	if (!cwd.startsWith("/"))
		throw new DaemonError("InvalidArgument", container(options), `working directory "${cwd}" is not absolute`);
	return {
		...(options.terminal === true ? { terminal: true } : {}),
		user: resolveUser(options.user ?? config.user, database, options.image),
		args: argsOf(config, options),
		env,
		cwd,
		capabilities: capabilitiesOf(options),
		rlimits: [...(options.rlimits ?? defaults.defaultRlimits)],
		noNewPrivileges: options.noNewPrivileges ?? true,
	};
}

function argsOf(config: ImageConfig, options: SpecOptions): string[] {
	const given = options.args ?? [];
	const args =
		options.entrypoint === undefined
			? [...config.entrypoint, ...(given.length > 0 ? given : config.cmd)]
			: [...options.entrypoint, ...given];
	if (args.length === 0)
		throw new DaemonError(
			"InvalidArgument",
			{ kind: "image", namespace: options.namespace, id: options.image },
			"has neither an entrypoint nor a command: say what to run",
		);
	return args;
}

function capabilitiesOf(options: SpecOptions): Capabilities {
	const drop = new Set((options.dropCapabilities ?? []).map((name) => capabilityName(name, options)));
	const add = (options.addCapabilities ?? []).map((name) => capabilityName(name, options));
	if (add.includes("CAP_ALL"))
		throw new DaemonError("InvalidArgument", container(options), "cannot add capability ALL: name each one");
	const kept = drop.has("CAP_ALL") ? [] : defaults.defaultCapabilities;
	const list = [...new Set([...kept.filter((name) => !drop.has(name)), ...add])];
	return { bounding: list, effective: [...list], permitted: [...list] };
}

function capabilityName(name: string, options: SpecOptions): string {
	const upper = name.toUpperCase();
	if (!/^[A-Z_]+$/.test(upper))
		throw new DaemonError("InvalidArgument", container(options), `"${name}" is not the name of a capability`);
	return upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
}

function mountsOf(options: SpecOptions): Mount[] {
	const own = [...(options.cgroupMount === true ? [defaults.cgroupMount] : [])];
	if (options.hostNetwork === true)
		for (const file of ["/etc/hosts", "/etc/resolv.conf"])
			own.push({ destination: file, type: "bind", source: file, options: ["rbind", "ro"] });
	own.push(...(options.mounts ?? []));
	const wanted = new Map(own.map((mount) => [mount.destination, mount]));
	const inPlace = defaults.defaultMounts.map((mount) => wanted.get(mount.destination) ?? mount);
	return [...inPlace, ...own.filter((mount) => !inPlace.includes(mount))].map((mount) => ({
		...mount,
		...(mount.options === undefined ? {} : { options: [...mount.options] }),
	}));
}

/** The period of ctr's `--cpus`. */
const cpuPeriodUs = 100_000;

function resourcesOf(options: SpecOptions): Resources {
	const { memoryLimit, cpus, cpuShares, pidsLimit } = options;
	const positive = (name: string, value: number | undefined): void => {
		if (value !== undefined && !(Number.isFinite(value) && value > 0))
			throw new DaemonError("InvalidArgument", container(options), `${name} must be more than 0, not ${value}`);
	};
	positive("memory limit", memoryLimit);
	positive("cpus", cpus);
	positive("cpu shares", cpuShares);
	positive("pids limit", pidsLimit);
	const cpu = {
		...(cpuShares === undefined ? {} : { shares: cpuShares }),
		...(cpus === undefined ? {} : { quota: Math.round(cpus * cpuPeriodUs), period: cpuPeriodUs }),
	};
	return {
		devices: defaults.defaultDeviceRules.map((rule) => ({ ...rule })),
		...(memoryLimit === undefined ? {} : { memory: { limit: Math.floor(memoryLimit) } }),
		...(Object.keys(cpu).length === 0 ? {} : { cpu }),
		...(pidsLimit === undefined ? {} : { pids: { limit: Math.floor(pidsLimit) } }),
	};
}

const container = ({ namespace, id }: SpecOptions) => ({ kind: "container", namespace, id });
