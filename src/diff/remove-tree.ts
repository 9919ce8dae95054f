import { constants, type Dirent, readdirSync } from "node:fs";
import type { Kernel } from "../sys/kernel.ts";
import { failedWith } from "../sys/sys-error.ts";
import { AT_REMOVEDIR, cBytes, O_CLOEXEC } from "./file-bytes.ts";

export type RemoveCalls = Pick<Kernel, "openat" | "close" | "unlinkat" | "renameat">;

/**
 * Removes what `name` is in the directory `parent`; nothing there is no error. Never follows a symlink. However deep the
 * tree (an image may nest deeper than paths are long), it needs no recursion and three descriptors: a directory below
 * the first level is moved up before it is emptied. Throws SysError. `each` is called for every removed entry and may
 * throw to end early.
 */
export function removeTree(kernel: RemoveCalls, parent: number, name: Uint8Array, each?: () => void): void {
	try {
		kernel.unlinkat(parent, name, 0);
		return;
	} catch (reason) {
		if (failedWith(reason, "ENOENT")) return;
		// EPERM is what POSIX says for a directory, EISDIR what Linux does.
		if (!failedWith(reason, "EISDIR", "EPERM")) throw reason;
	}
	const top = openDirectory(kernel, parent, name);
	try {
		let moved = 0;
		for (let entries = list(top); entries.length > 0; entries = list(top))
			for (const entry of entries) {
				const entryName = cBytes(entry.name);
				if (!entry.isDirectory()) kernel.unlinkat(top, entryName, 0);
				else moved = emptyInto(kernel, top, entryName, moved, each);
				each?.();
			}
	} finally {
		kernel.close(top);
	}
	kernel.unlinkat(parent, name, AT_REMOVEDIR);
}

/** Empties the directory `name` of `top` and removes it; its own directories go up to `top`. */
function emptyInto(kernel: RemoveCalls, top: number, name: Uint8Array, moved: number, each?: () => void): number {
	let count = moved;
	const directory = openDirectory(kernel, top, name);
	try {
		for (const entry of list(directory)) {
			const entryName = cBytes(entry.name);
			if (entry.isDirectory()) count = moveUp(kernel, directory, entryName, top, count);
			else {
				kernel.unlinkat(directory, entryName, 0);
				each?.();
			}
		}
	} finally {
		kernel.close(directory);
	}
	kernel.unlinkat(top, name, AT_REMOVEDIR);
	return count;
}

/** A name that is taken by a directory with something in it is left, and the next one tried. */
function moveUp(kernel: RemoveCalls, from: number, name: Uint8Array, top: number, start: number): number {
	for (let count = start + 1; ; count++)
		try {
			kernel.renameat(from, name, top, cBytes(`.moved-${count}`));
			return count;
		} catch (reason) {
			if (!failedWith(reason, "ENOTEMPTY", "EEXIST", "ENOTDIR")) throw reason;
		}
}

const openDirectory = (kernel: RemoveCalls, parent: number, name: Uint8Array): number =>
	kernel.openat(parent, name, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC, 0);

const list = (fd: number): Dirent<string>[] =>
	readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true, encoding: "latin1" });
