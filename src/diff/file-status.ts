import type { Kernel } from "../sys/kernel.ts";
import { failedWith } from "../sys/sys-error.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, S_IFCHR, S_IFDIR, S_IFMT } from "./file-bytes.ts";

export interface FileStatus {
	/** Type and permission bits. */
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
	readonly inode: bigint;
	/** Allocated, in units of 512 bytes. */
	readonly blocks: number;
	readonly links: number;
	readonly deviceMajor: number;
	readonly deviceMinor: number;
}

const STATX_BASIC_STATS = 0x7ff;
const memory = Buffer.alloc(256);
const none = Buffer.alloc(1);

/** struct statx, the same on all architectures (statx(2)). */
const parse = (): FileStatus => ({
	links: memory.readUInt32LE(16),
	uid: memory.readUInt32LE(20),
	gid: memory.readUInt32LE(24),
	mode: memory.readUInt16LE(28),
	inode: memory.readBigUInt64LE(32),
	blocks: Number(memory.readBigUInt64LE(48)),
	deviceMajor: memory.readUInt32LE(128),
	deviceMinor: memory.readUInt32LE(132),
});

type StatCalls = Pick<Kernel, "statx">;

/** The status of what `name` is in the directory, not followed; undefined for nothing. Throws SysError. */
export function statusAt(kernel: StatCalls, directory: number, name: Uint8Array): FileStatus | undefined {
	try {
		kernel.statx(directory, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, memory);
	} catch (reason) {
		if (failedWith(reason, "ENOENT")) return undefined;
		throw reason;
	}
	return parse();
}

/** The status of an open descriptor (O_PATH, too). */
export function statusOf(kernel: StatCalls, fd: number): FileStatus {
	kernel.statx(fd, none, AT_EMPTY_PATH, STATX_BASIC_STATS, memory);
	return parse();
}

/** Allocated 512-byte units of an open descriptor: the cheap form of {@link statusOf}. */
export function blocksOf(kernel: StatCalls, fd: number): number {
	kernel.statx(fd, none, AT_EMPTY_PATH, STATX_BASIC_STATS, memory);
	return memory.readUInt32LE(48);
}

/** overlayfs's mark for "gone": a character device 0/0. */
export const isWhiteout = (status: FileStatus): boolean =>
	(status.mode & S_IFMT) === S_IFCHR && status.deviceMajor === 0 && status.deviceMinor === 0;

export const isDirectory = (status: FileStatus): boolean => (status.mode & S_IFMT) === S_IFDIR;
