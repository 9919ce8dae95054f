import type { Kernel } from "../../sys/kernel.ts";
import { failedWith } from "../../sys/sys-error.ts";
import type { TarEntry, TarTime } from "../tar/tar-entry.ts";

export type AttributeCalls = Pick<Kernel, "fsetxattr" | "lsetxattr">;

/** Attributes that steer overlayfs: an archive that sets them could show files of other layers. */
const reserved = /^(trusted|user)\.overlay\./;

/** Sets extended attributes of entries and counts those that cannot be. */
export class EntryAttributes {
	readonly #kernel: AttributeCalls;
	skipped = 0;
	/** Some directory has a default ACL: files made below it do not have the mode they were made with. */
	defaultAcls = false;

	constructor(kernel: AttributeCalls) {
		this.#kernel = kernel;
	}

	/** Those of an open file. Throws SysError. */
	setOf(entry: TarEntry, fd: number): void {
		this.#each(entry, (name, value) => this.#kernel.fsetxattr(fd, name, value, value.length, 0));
	}

	/** Those of what `name` is in the directory, not followed. `name` ends in NUL. Throws SysError. */
	setAt(entry: TarEntry, directory: number, name: Uint8Array): void {
		if (entry.attributes === undefined) return;
		// There is no lsetxattrat before Linux 6.13: the directory is reached through /proc.
		const path = Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name]);
		this.#each(entry, (key, value) => this.#kernel.lsetxattr(path, key, value, value.length, 0));
	}

	#each({ attributes }: TarEntry, set: (name: string, value: Buffer) => void): void {
		if (attributes === undefined) return;
		for (const [name, value] of attributes) {
			if (reserved.test(name)) {
				this.skipped++;
				continue;
			}
			if (name === "system.posix_acl_default") this.defaultAcls = true;
			try {
				set(name, value);
			} catch (reason) {
				if (!failedWith(reason, "ENOTSUP", "EOPNOTSUPP")) throw reason;
				this.skipped++;
			}
		}
	}
}

const times = Buffer.alloc(32);

/**
 * struct timespec[2]: access, modification. The access time is not before the modification's, as in containerd. The
 * buffer is used again by the next call.
 */
export function timesOf({ mtime, atime }: TarEntry): Buffer {
	put(0, atime !== undefined && isLater(atime, mtime) ? atime : mtime);
	put(16, mtime);
	return times;
}

function put(offset: number, { seconds, nanoseconds }: TarTime): void {
	times.writeUInt32LE(seconds >>> 0, offset);
	times.writeUInt32LE(Math.floor(seconds / 0x1_0000_0000), offset + 4);
	times.writeUInt32LE(nanoseconds, offset + 8);
}

const isLater = (a: TarTime, b: TarTime): boolean =>
	a.seconds > b.seconds || (a.seconds === b.seconds && a.nanoseconds > b.nanoseconds);
