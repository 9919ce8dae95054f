import { open } from "node:fs/promises";
import type { Kernel } from "../sys/kernel.ts";
import { failedWith } from "../sys/sys-error.ts";

/** linux/fs.h; the number of 64-bit machines. The flags themselves are an int. */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_TOPDIR_FL = 0x20000;

/**
 * Tells the file system that the directories in `path` have nothing to do with each other (chattr(1), attribute `T`), so
 * that ext4 puts each into a block group of its own choice. Otherwise a new snapshot lands where the last one was
 * deleted, and ext4 spends its time stepping over inodes that were freed in the last minutes: extraction then takes five
 * to ten times as long (fs/ext4/ialloc.c, recently_deleted). Where a file system has no such attribute, nothing happens.
 */
export async function spreadDirectories(kernel: Pick<Kernel, "ioctl">, path: string): Promise<void> {
	const directory = await open(path, "r");
	try {
		const flags = Buffer.alloc(8);
		kernel.ioctl(directory.fd, FS_IOC_GETFLAGS, flags);
		flags.writeUInt32LE((flags.readUInt32LE(0) | FS_TOPDIR_FL) >>> 0, 0);
		kernel.ioctl(directory.fd, FS_IOC_SETFLAGS, flags);
	} catch (reason) {
		// A hint, no more: other file systems have no flags or not this one, and a user namespace may not set them.
		if (!failedWith(reason, "ENOTTY", "EOPNOTSUPP", "ENOTSUP", "EINVAL", "ENOSYS", "EPERM", "EACCES")) throw reason;
	} finally {
		await directory.close();
	}
}
