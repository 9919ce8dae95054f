import { constants } from "node:fs";
import type { Kernel } from "../sys/kernel.ts";
import { failedWith } from "../sys/sys-error.ts";
import { AT_EMPTY_PATH, O_CLOEXEC } from "./file-bytes.ts";
import { statusOf } from "./file-status.ts";

export type InheritCalls = Pick<
	Kernel,
	"open" | "openat2" | "close" | "statx" | "fchown" | "fchmod" | "llistxattr" | "lgetxattr" | "fsetxattr" | "futimens"
>;

const RESOLVE_BENEATH = 0x08;
const RESOLVE_NO_SYMLINKS = 0x04;
const STATX_BASIC_STATS = 0x7ff;
const largestList = 65_536;

/**
 * Gives directories of a layer, which its archive did not describe, the owner, mode, attributes and times of the nearest
 * lower layer's directory of the same path, so that the merged tree looks as if the layer had not touched them. `lowers`
 * are the roots of the layers below, nearest first. A path no layer has, or that a layer hides, stays as it is.
 */
export function inheritDirectories(
	kernel: InheritCalls,
	layer: string,
	lowers: readonly string[],
	paths: readonly Uint8Array[],
): void {
	const opened: number[] = [];
	const root = (path: string): number => {
		const fd = kernel.open(path, constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC, 0);
		opened.push(fd);
		return fd;
	};
	try {
		const upper = root(layer);
		const below = lowers.map(root);
		for (const path of paths) {
			const target = openBelow(kernel, upper, path);
			if (typeof target !== "number") continue;
			try {
				inherit(kernel, below, path, target);
			} finally {
				kernel.close(target);
			}
		}
	} finally {
		for (const fd of opened) kernel.close(fd);
	}
}

function inherit(kernel: InheritCalls, below: readonly number[], path: Uint8Array, target: number): void {
	for (const lower of below) {
		const source = openBelow(kernel, lower, path);
		if (source === "missing") continue;
		if (source === "hidden") return;
		try {
			copy(kernel, source, target);
		} finally {
			kernel.close(source);
		}
		return;
	}
}

/** `hidden`: a whiteout, a file or a symlink is in the way. */
function openBelow(kernel: InheritCalls, root: number, path: Uint8Array): number | "missing" | "hidden" {
	const how = Buffer.alloc(24);
	how.writeBigUInt64LE(BigInt(constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC), 0);
	how.writeBigUInt64LE(BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), 16);
	try {
		return kernel.openat2(root, Buffer.concat([path, Buffer.of(0)]), how, how.length);
	} catch (reason) {
		if (failedWith(reason, "ENOENT")) return "missing";
		if (failedWith(reason, "ENOTDIR", "ELOOP")) return "hidden";
		throw reason;
	}
}

function copy(kernel: InheritCalls, source: number, target: number): void {
	const { uid, gid, mode } = statusOf(kernel, source);
	kernel.fchown(target, uid | 0, gid | 0);
	copyAttributes(kernel, `/proc/self/fd/${source}/.`, target);
	kernel.fchmod(target, mode & 0o7777);
	const status = Buffer.alloc(256);
	kernel.statx(source, Buffer.alloc(1), AT_EMPTY_PATH, STATX_BASIC_STATS, status);
	// struct statx: access time at 64, modification time at 112; each has seconds and nanoseconds as a timespec begins.
	const times = Buffer.alloc(32);
	for (const [from, to] of [
		[64, 0],
		[112, 16],
	] as const) {
		status.copy(times, to, from, from + 8);
		times.writeBigInt64LE(BigInt(status.readUInt32LE(from + 8)), to + 8);
	}
	kernel.futimens(target, times);
}

function copyAttributes(kernel: InheritCalls, path: string, target: number): void {
	const list = Buffer.alloc(largestList);
	const names = list.toString("utf8", 0, kernel.llistxattr(path, list, list.length)).split("\0");
	for (const name of names) {
		if (name === "" || /^(trusted|user)\.overlay\./.test(name)) continue;
		const value = Buffer.alloc(largestList);
		const size = kernel.lgetxattr(path, name, value, value.length);
		kernel.fsetxattr(target, name, value, size, 0);
	}
}
