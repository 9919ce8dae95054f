import { DaemonError } from "../errors/daemon-error.ts";
import type { Kernel } from "./kernel.ts";
import { cString } from "./memory.ts";
import { failedWith } from "./sys-error.ts";

/** A mount as the wire carries it (containerd.types.Mount). */
export interface Mount {
	readonly type: string;
	readonly source: string;
	/** A directory below the target that this one goes on; empty for the target itself. */
	readonly target: string;
	readonly options: readonly string[];
}

export type MountCalls = Pick<Kernel, "mount" | "umount2" | "chdir" | "open" | "openat2" | "close">;

export const MS_RDONLY = 0x1;
export const MS_NOSUID = 0x2;
export const MS_NODEV = 0x4;
export const MS_NOEXEC = 0x8;
export const MS_REMOUNT = 0x20;
export const MS_BIND = 0x1000;
export const MS_REC = 0x4000;
export const MS_UNBINDABLE = 0x20000;
export const MS_PRIVATE = 0x40000;
export const MS_SLAVE = 0x80000;
export const MS_SHARED = 0x100000;
const MS_SYNCHRONOUS = 0x10;
const MS_MANDLOCK = 0x40;
const MS_DIRSYNC = 0x80;
const MS_NOATIME = 0x400;
const MS_NODIRATIME = 0x800;
const MS_RELATIME = 0x200000;
const MS_STRICTATIME = 0x1000000;

export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;

type Flag = readonly [bit: number, action: "set" | "clear"];

/** Options that are flags of mount(2) rather than data of the file system (mount(8), containerd's mount_linux.go). */
const flags: ReadonlyMap<string, Flag> = new Map<string, Flag>([
	["async", [MS_SYNCHRONOUS, "clear"]],
	["atime", [MS_NOATIME, "clear"]],
	["bind", [MS_BIND, "set"]],
	["defaults", [0, "set"]],
	["dev", [MS_NODEV, "clear"]],
	["diratime", [MS_NODIRATIME, "clear"]],
	["dirsync", [MS_DIRSYNC, "set"]],
	["exec", [MS_NOEXEC, "clear"]],
	["mand", [MS_MANDLOCK, "set"]],
	["noatime", [MS_NOATIME, "set"]],
	["nodev", [MS_NODEV, "set"]],
	["nodiratime", [MS_NODIRATIME, "set"]],
	["noexec", [MS_NOEXEC, "set"]],
	["nomand", [MS_MANDLOCK, "clear"]],
	["norelatime", [MS_RELATIME, "clear"]],
	["nostrictatime", [MS_STRICTATIME, "clear"]],
	["nosuid", [MS_NOSUID, "set"]],
	["rbind", [MS_BIND | MS_REC, "set"]],
	["relatime", [MS_RELATIME, "set"]],
	["remount", [MS_REMOUNT, "set"]],
	["ro", [MS_RDONLY, "set"]],
	["rw", [MS_RDONLY, "clear"]],
	["strictatime", [MS_STRICTATIME, "set"]],
	["suid", [MS_NOSUID, "clear"]],
	["sync", [MS_SYNCHRONOUS, "set"]],
]);

const propagations: ReadonlyMap<string, number> = new Map([
	["private", MS_PRIVATE],
	["rprivate", MS_PRIVATE | MS_REC],
	["shared", MS_SHARED],
	["rshared", MS_SHARED | MS_REC],
	["slave", MS_SLAVE],
	["rslave", MS_SLAVE | MS_REC],
	["unbindable", MS_UNBINDABLE],
	["runbindable", MS_UNBINDABLE | MS_REC],
]);

export interface ParsedOptions {
	/** Flags of mount(2) without propagation. */
	readonly flags: number;
	/** Flags of a second mount(2) that sets the propagation; 0 for none. */
	readonly propagation: number;
	/** What the file system itself reads. */
	readonly data: readonly string[];
}

/** Splits a mount's options. Throws Unimplemented for those that need more than mount(2). */
export function parseMountOptions(options: readonly string[]): ParsedOptions {
	let set = 0;
	let propagation = 0;
	const data: string[] = [];
	for (const option of options) {
		const flag = flags.get(option);
		const spread = propagations.get(option);
		if (flag !== undefined) set = flag[1] === "set" ? set | flag[0] : set & ~flag[0];
		else if (spread !== undefined) propagation |= spread;
		else if (option === "loop" || /^(uidmap|gidmap|X-containerd\.)/.test(option))
			throw new DaemonError("Unimplemented", { kind: "mount option", id: option }, "not supported");
		else if (option !== "") data.push(option);
	}
	return { flags: set, propagation, data };
}

/** mount(2) copies one page of data and cuts off the rest; the last byte is the string's end. */
const dataLimit = 4095;
/** What a second call must set on a bind mount, because the first ignores it (mount(2), "Creating a bind mount"). */
const perMountFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_STRICTATIME;

/**
 * Mounts one after the other on `target`; what was mounted is detached again if a later one fails. Synchronous: for
 * workers and the shim. The target must exist. Throws SysError, or InvalidArgument for options that exceed a page.
 */
export function mountAll(kernel: MountCalls, mounts: readonly Mount[], target: string): void {
	const done: string[] = [];
	try {
		for (const mount of mounts) {
			const place = targetOf(kernel, mount, target);
			mountOne(kernel, mount, place);
			done.push(place);
		}
	} catch (reason) {
		for (const place of done.reverse()) unmountOne(kernel, place, MNT_DETACH);
		throw reason;
	}
}

/** Detaches everything that is mounted on `target`, however often; nothing there is no error. Throws SysError. */
export function unmountAll(kernel: MountCalls, target: string, umountFlags: number = MNT_DETACH): void {
	while (unmountOne(kernel, target, umountFlags));
}

/**
 * The place of a mount. What is mounted on the target already is an image's tree: a symlink of it must not lead the
 * next mount somewhere on the host, so places with symlinks are refused (ELOOP).
 */
function targetOf(kernel: MountCalls, { target: below }: Mount, target: string): string {
	const parts = below.split("/").filter((part) => part !== "" && part !== ".");
	if (parts.length === 0) return target;
	if (parts.includes(".."))
		throw new DaemonError("InvalidArgument", { kind: "mount target", id: below }, "must not leave the root");
	const path = parts.join("/");
	const how = Buffer.alloc(24);
	how.writeBigUInt64LE(BigInt(O_PATH | O_CLOEXEC), 0);
	how.writeBigUInt64LE(BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), 16);
	const root = kernel.open(target, O_PATH | O_CLOEXEC, 0);
	try {
		kernel.close(kernel.openat2(root, path, how, how.length));
	} finally {
		kernel.close(root);
	}
	return `${target}/${path}`;
}

function mountOne(kernel: MountCalls, mount: Mount, target: string): void {
	const { flags, propagation, data: options } = parseMountOptions(mount.options);
	const call = (source: string, type: string, bits: number, data: string): void => {
		kernel.mount(cString(source), cString(target), cString(type), bits, data === "" ? null : cString(data));
	};
	const { data, directory } = shorten(options);
	if (Buffer.byteLength(data) > dataLimit)
		throw new DaemonError("InvalidArgument", { kind: "mount", id: target }, "options are longer than a page");
	const bind = (flags & MS_BIND) !== 0 && (flags & MS_REMOUNT) === 0;
	if (directory === undefined) call(mount.source, mount.type, flags, data);
	else
		inDirectory(kernel, directory, () => {
			call(mount.source, mount.type, flags, data);
		});
	try {
		if (bind && (flags & perMountFlags) !== 0) call("none", "none", (flags & ~MS_REC) | MS_REMOUNT, "");
		if (propagation !== 0) call("none", "none", propagation, "");
	} catch (reason) {
		unmountOne(kernel, target, MNT_DETACH);
		throw reason;
	}
}

/**
 * Many layers do not fit in a page by their full paths. As containerd does: go to the directory that all of them are
 * in, and name them from there.
 */
function shorten(options: readonly string[]): { readonly data: string; readonly directory?: string } {
	const data = options.join(",");
	if (Buffer.byteLength(data) <= dataLimit) return { data };
	const lower = options.find((option) => option.startsWith("lowerdir="));
	const layers = lower?.slice("lowerdir=".length).split(":") ?? [];
	const first = layers[0];
	if (first === undefined || !layers.every((layer) => layer.startsWith("/"))) return { data };
	let directory = first.slice(0, first.lastIndexOf("/"));
	while (directory !== "" && !layers.every((layer) => layer.startsWith(`${directory}/`)))
		directory = directory.slice(0, directory.lastIndexOf("/"));
	if (directory === "") return { data };
	const short = layers.map((layer) => layer.slice(directory.length + 1)).join(":");
	return { data: options.map((option) => (option === lower ? `lowerdir=${short}` : option)).join(","), directory };
}

/**
 * The current directory is the process's (or a thread's that has unshared it). Nothing else runs on this thread until
 * it is restored, and no other part of Troupe uses relative paths.
 */
function inDirectory(kernel: MountCalls, directory: string, action: () => void): void {
	const before = process.cwd();
	kernel.chdir(directory);
	try {
		action();
	} finally {
		kernel.chdir(before);
	}
}

/** Whether something was unmounted. EINVAL: not a mount point; ENOENT: no such path. */
function unmountOne(kernel: MountCalls, target: string, umountFlags: number): boolean {
	try {
		kernel.umount2(target, umountFlags | UMOUNT_NOFOLLOW);
		return true;
	} catch (reason) {
		if (failedWith(reason, "EINVAL", "ENOENT")) return false;
		throw reason;
	}
}
