/**
 * The OCI runtime specification's config.json, as far as Troupe writes or reads it. Field names are the specification's
 * (https://github.com/opencontainers/runtime-spec/blob/main/config.md and config-linux.md).
 */

export interface Spec {
	ociVersion: string;
	process?: Process;
	root?: { path: string; readonly?: boolean };
	hostname?: string;
	mounts?: Mount[];
	hooks?: Hooks;
	annotations?: Record<string, string>;
	linux?: Linux;
}

export interface Process {
	terminal?: boolean;
	consoleSize?: { height: number; width: number };
	user: User;
	args: string[];
	env?: string[];
	cwd: string;
	capabilities?: Capabilities;
	rlimits?: Rlimit[];
	noNewPrivileges?: boolean;
	apparmorProfile?: string;
	oomScoreAdj?: number;
	selinuxLabel?: string;
}

export interface User {
	uid: number;
	gid: number;
	umask?: number;
	additionalGids?: number[];
}

export interface Capabilities {
	bounding?: string[];
	effective?: string[];
	inheritable?: string[];
	permitted?: string[];
	ambient?: string[];
}

export interface Rlimit {
	type: string;
	hard: number;
	soft: number;
}

export interface Mount {
	destination: string;
	type?: string;
	source?: string;
	options?: string[];
}

export interface Hook {
	path: string;
	args?: string[];
	env?: string[];
	timeout?: number;
}

export interface Hooks {
	prestart?: Hook[];
	createRuntime?: Hook[];
	createContainer?: Hook[];
	startContainer?: Hook[];
	poststart?: Hook[];
	poststop?: Hook[];
}

export type NamespaceType = "pid" | "ipc" | "uts" | "mount" | "network" | "user" | "cgroup" | "time";

export interface Linux {
	uidMappings?: IdMapping[];
	gidMappings?: IdMapping[];
	sysctl?: Record<string, string>;
	resources?: Resources;
	cgroupsPath?: string;
	/** A namespace with a path is joined; without one it is made. */
	namespaces?: { type: NamespaceType; path?: string }[];
	devices?: Device[];
	seccomp?: unknown;
	rootfsPropagation?: string;
	maskedPaths?: string[];
	readonlyPaths?: string[];
	mountLabel?: string;
}

export interface IdMapping {
	containerID: number;
	hostID: number;
	size: number;
}

export interface Device {
	path: string;
	type: string;
	major: number;
	minor: number;
	fileMode?: number;
	uid?: number;
	gid?: number;
}

/** A rule of the devices cgroup; a missing number means any. */
export interface DeviceRule {
	allow: boolean;
	type?: string;
	major?: number;
	minor?: number;
	access?: string;
}

export interface Resources {
	devices?: DeviceRule[];
	memory?: { limit?: number; reservation?: number; swap?: number };
	/** quota and period in microseconds. */
	cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
	pids?: { limit: number };
	hugepageLimits?: { pageSize: string; limit: number }[];
	unified?: Record<string, string>;
}
