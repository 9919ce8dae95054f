import { constants } from "node:fs";
import type { Kernel } from "../../sys/kernel.ts";
import { failedWith } from "../../sys/sys-error.ts";
import {
	AT_SYMLINK_NOFOLLOW,
	cBytes,
	deviceNumber,
	O_CLOEXEC,
	S_IFBLK,
	S_IFCHR,
	S_IFDIR,
	S_IFIFO,
	S_IFLNK,
	S_IFMT,
	S_ISGID,
} from "../file-bytes.ts";
import { blocksOf, type FileStatus, isDirectory, statusAt } from "../file-status.ts";
import { type RemoveCalls, removeTree } from "../remove-tree.ts";
import { readable, type TarEntry } from "../tar/tar-entry.ts";
import { tarError } from "../tar/tar-error.ts";
import type { TarSink } from "../tar/tar-reader.ts";
import { type AttributeCalls, EntryAttributes, timesOf } from "./entry-attributes.ts";
import { baseName, entryPath, parentPath } from "./entry-path.ts";
import { type DirectoryCalls, LayerDirectories, type LayerDirectory } from "./layer-directories.ts";
import { aufsPrefix, opaqueAttribute, opaqueMark, type WhiteoutForm, whiteoutPrefix } from "./whiteout.ts";

export type WriterCalls = DirectoryCalls &
	RemoveCalls &
	AttributeCalls &
	Pick<
		Kernel,
		| "write"
		| "fchown"
		| "fchownat"
		| "fchmod"
		| "fchmodat"
		| "futimens"
		| "utimensat"
		| "linkat"
		| "symlinkat"
		| "mknodat"
		| "syncfs"
	>;

export interface WriterOptions {
	readonly whiteouts?: WhiteoutForm;
	/**
	 * The thread's umask is 0, so that a file has its mode from the moment it is made: one call less for each. Otherwise
	 * modes are always set.
	 */
	readonly umaskIsZero?: boolean;
	/** In a user namespace no device can be made: they are left out, as in containerd. */
	readonly skipDevices?: boolean;
}

/** What a layer came to. */
export interface LayerSummary {
	readonly entries: number;
	/** Undefined if something was replaced while the layer was written, so that the sum would be wrong. */
	readonly usage: { readonly size: bigint; readonly inodes: bigint } | undefined;
	readonly impliedDirectories: readonly Uint8Array[];
	/** Attributes that the file system does not take (ENOTSUP), or that only overlayfs itself may set. */
	readonly skippedAttributes: number;
	readonly skippedDevices: number;
}

/** Beyond it a symlink's target needs a block of its own on most file systems. */
const inlineLink = 59;
const createFlags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW | O_CLOEXEC;
const setIdBits = 0o6000;

/**
 * Writes the entries of one layer's archive below a root, and nowhere else: each parent is opened inside the root
 * (layer-directories.ts), each name is a single component of it that is never followed. What an entry replaces is
 * removed first. Whiteouts become overlayfs's (OCI image spec, layer.md); a whiteout never hides what the same layer
 * brings. Semantics are those of containerd's archive.Apply where both are defined.
 */
export class LayerWriter implements TarSink {
	readonly #kernel: WriterCalls;
	readonly #directories: LayerDirectories;
	readonly #attributes: EntryAttributes;
	readonly #options: WriterOptions;
	readonly #opaque: string | undefined;
	/** Times of directories, set at the end: each new entry would change them. */
	readonly #directoryTimes = new Map<string, TarEntry>();
	readonly #implied = new Set<string>();
	#file: { readonly fd: number; readonly entry: TarEntry; readonly directory: LayerDirectory } | undefined;
	#entries = 0;
	#inodes = 0;
	#blocks = 0;
	#replaced = false;
	#skippedDevices = 0;
	#entryName = "";

	/** `root` must exist and nobody else may write below it. */
	constructor(kernel: WriterCalls, root: string, options: WriterOptions = {}) {
		this.#kernel = kernel;
		this.#options = options;
		this.#attributes = new EntryAttributes(kernel);
		this.#opaque = opaqueAttribute(options.whiteouts ?? "overlay");
		this.#directories = new LayerDirectories(kernel, root, {
			made: (path) => this.#implied.add(path),
			replacedWhiteout: (directory) => this.#makeOpaque(directory),
		});
	}

	/** A file has the mode that it was made with. */
	get #modesAreExact(): boolean {
		return this.#options.umaskIsZero === true && !this.#attributes.defaultAcls;
	}

	get entries(): number {
		return this.#entries;
	}

	/** The entry that was begun last, for errors. */
	get entryName(): string {
		return readable(this.#entryName);
	}

	entry(entry: TarEntry): void {
		this.#entryName = entry.name;
		this.#directories.trim();
		const path = entryPath(entry.name);
		// The root itself belongs to the snapshot, not to the layer: containerd ignores it, too.
		if (path === "") return;
		const name = baseName(path);
		if (name.startsWith(whiteoutPrefix)) {
			this.#mark(entry, path, name);
			return;
		}
		if (path.startsWith(aufsPrefix)) return;
		const directory = this.#directories.make(parentPath(path));
		this.#create(entry, path, directory, cBytes(name));
		this.#entries++;
	}

	content(chunk: Uint8Array, start: number, end: number): void {
		if (this.#file === undefined) return;
		for (let at = start; at < end; ) at += this.#kernel.write(this.#file.fd, chunk.subarray(at, end), end - at);
	}

	entryEnd(): void {
		const file = this.#file;
		if (file === undefined) return;
		const { fd, entry, directory } = file;
		const { uid, gid, mode } = entry;
		// chown takes the set-id bits away and drops capabilities, so: owner, attributes, mode, times.
		if (uid !== 0 || gid !== 0 || directory.setgid) this.#kernel.fchown(fd, uid | 0, gid | 0);
		this.#attributes.setOf(entry, fd);
		if (!this.#modesAreExact || (mode & ~0o777) !== 0) this.#kernel.fchmod(fd, mode);
		this.#kernel.futimens(fd, timesOf(entry));
		this.#count(entry.size === 0 ? 0 : blocksOf(this.#kernel, fd));
		this.#file = undefined;
		this.#kernel.close(fd);
	}

	/** Sets the times of directories; with `sync`, waits until all is on disk. */
	end(sync: boolean): LayerSummary {
		for (const [path, entry] of this.#directoryTimes) {
			this.#directories.trim();
			const directory = this.#stillThere(parentPath(path));
			if (directory === undefined) continue;
			const name = cBytes(baseName(path));
			const status = statusAt(this.#kernel, directory.fd, name);
			// Something else has taken its place.
			if (status === undefined || !isDirectory(status)) continue;
			this.#kernel.utimensat(directory.fd, name, timesOf(entry), AT_SYMLINK_NOFOLLOW);
			this.#blocks += status.blocks;
		}
		for (const path of this.#implied) {
			this.#directories.trim();
			const directory = this.#stillThere(path);
			if (directory !== undefined) this.#count(blocksOf(this.#kernel, directory.fd));
		}
		this.#count(blocksOf(this.#kernel, this.#directories.root.fd));
		if (sync) this.#sync();
		return {
			entries: this.#entries,
			usage: this.#replaced ? undefined : { size: BigInt(this.#blocks) * 512n, inodes: BigInt(this.#inodes) },
			impliedDirectories: [...this.#implied].map((path) => Buffer.from(path, "latin1")),
			skippedAttributes: this.#attributes.skipped,
			skippedDevices: this.#skippedDevices,
		};
	}

	/** Closes every descriptor, also in the middle of an entry. */
	close(): void {
		if (this.#file !== undefined) this.#kernel.close(this.#file.fd);
		this.#file = undefined;
		this.#directories.close();
	}

	/** A directory that was made earlier; undefined if a later entry has replaced it or what it is in. */
	#stillThere(path: string): LayerDirectory | undefined {
		try {
			return this.#directories.find(path);
		} catch (reason) {
			if (failedWith(reason, "ENOTDIR", "ELOOP")) return undefined;
			throw reason;
		}
	}

	#sync(): void {
		const fd = this.#kernel.openat(this.#directories.root.fd, cBytes("."), constants.O_RDONLY | O_CLOEXEC, 0);
		try {
			this.#kernel.syncfs(fd);
		} finally {
			this.#kernel.close(fd);
		}
	}

	#count(blocks: number): void {
		this.#inodes++;
		this.#blocks += blocks;
	}

	/** A whiteout or an opaque mark. */
	#mark(entry: TarEntry, path: string, name: string): void {
		if (name !== opaqueMark && name.startsWith(aufsPrefix)) return;
		const gone = name.slice(whiteoutPrefix.length);
		if (gone === "" || gone === "." || gone === "..") throw tarError("a whiteout without a name");
		if (this.#opaque === undefined) return;
		const directory = this.#directories.make(parentPath(path));
		this.#entries++;
		if (name === opaqueMark) {
			this.#makeOpaque(directory);
			return;
		}
		const target = cBytes(gone);
		const status = statusAt(this.#kernel, directory.fd, target);
		if (status === undefined) {
			this.#kernel.mknodat(directory.fd, target, S_IFCHR, 0n);
			if (entry.uid !== 0 || entry.gid !== 0) this.#chown(directory, target, entry);
			this.#count(0);
		} else if (isDirectory(status)) {
			const own = this.#directories.find(`${parentPath(path)}/${gone}`.replace(/^\//, ""));
			if (own !== undefined) this.#makeOpaque(own);
		}
	}

	#makeOpaque(directory: LayerDirectory): void {
		if (this.#opaque === undefined) return;
		// The path goes through /proc because an O_PATH descriptor takes no attributes; the dot ends at the directory.
		this.#kernel.lsetxattr(`/proc/self/fd/${directory.fd}/.`, this.#opaque, Buffer.from("y"), 1, 0);
	}

	#create(entry: TarEntry, path: string, directory: LayerDirectory, name: Uint8Array): void {
		if (entry.type === "file") this.#createFile(entry, directory, name);
		else if (entry.type === "directory") this.#createDirectory(entry, path, directory, name);
		else if (entry.type === "hardlink") this.#createLink(entry, directory, name);
		else if (entry.type === "symlink") this.#createSymlink(entry, directory, name);
		else this.#createNode(entry, directory, name);
	}

	#createSymlink(entry: TarEntry, directory: LayerDirectory, name: Uint8Array): void {
		this.#replacing(directory, name, () => this.#kernel.symlinkat(cBytes(entry.link), directory.fd, name));
		this.#count(entry.link.length > inlineLink ? (statusAt(this.#kernel, directory.fd, name)?.blocks ?? 0) : 0);
		if (entry.uid !== 0 || entry.gid !== 0 || directory.setgid) this.#chown(directory, name, entry);
		this.#attributes.setAt(entry, directory.fd, name);
		this.#kernel.utimensat(directory.fd, name, timesOf(entry), AT_SYMLINK_NOFOLLOW);
	}

	#createFile(entry: TarEntry, directory: LayerDirectory, name: Uint8Array): void {
		const fd = this.#replacing(directory, name, () =>
			this.#kernel.openat(directory.fd, name, createFlags, entry.mode & 0o777),
		);
		this.#file = { fd, entry, directory };
	}

	#createDirectory(entry: TarEntry, path: string, directory: LayerDirectory, name: Uint8Array): void {
		let made = true;
		try {
			this.#kernel.mkdirat(directory.fd, name, entry.mode & 0o1777);
		} catch (reason) {
			if (!failedWith(reason, "EEXIST")) throw reason;
			made = this.#replaceByDirectory(entry, path, directory, name);
		}
		if (made) this.#inodes++;
		const { uid, gid, mode } = entry;
		if (uid !== 0 || !made || gid !== 0 || directory.setgid) this.#chown(directory, name, entry);
		this.#attributes.setAt(entry, directory.fd, name);
		// Not followed: it is a directory, and nobody else is here.
		if (!made || !this.#modesAreExact || (mode & setIdBits) !== 0 || directory.setgid)
			this.#kernel.fchmodat(directory.fd, name, mode, 0);
		if (!made && (mode & S_ISGID) !== 0) this.#directories.forget();
		this.#directoryTimes.set(path, entry);
		if (this.#implied.delete(path)) this.#inodes++;
	}

	/** A directory where something is: a directory stays. Says whether a new one was made. */
	#replaceByDirectory(entry: TarEntry, path: string, directory: LayerDirectory, name: Uint8Array): boolean {
		const status = statusAt(this.#kernel, directory.fd, name);
		if (status !== undefined && isDirectory(status)) return false;
		this.#remove(directory, name, status);
		this.#kernel.mkdirat(directory.fd, name, entry.mode & 0o1777);
		// What was here hid the lower layers' directory of this name: the new one must, too.
		const own = this.#directories.find(path);
		if (own !== undefined) this.#makeOpaque(own);
		return true;
	}

	#createLink(entry: TarEntry, directory: LayerDirectory, name: Uint8Array): void {
		const linkPath = entryPath(entry.link);
		const from = this.#directories.find(parentPath(linkPath));
		const target = cBytes(baseName(linkPath));
		const status = from && linkPath !== "" ? statusAt(this.#kernel, from.fd, target) : undefined;
		if (from === undefined || status === undefined)
			throw tarError(
				`hard link ${JSON.stringify(this.entryName)} to ${JSON.stringify(readable(entry.link))}: not found`,
			);
		if (isDirectory(status))
			throw tarError(
				`hard link ${JSON.stringify(this.entryName)} to the directory ${JSON.stringify(readable(entry.link))}`,
			);
		// A link to what is already there under this name: replacing it would remove the target.
		if (statusAt(this.#kernel, directory.fd, name)?.inode !== status.inode)
			this.#replacing(directory, name, () => this.#kernel.linkat(from.fd, target, directory.fd, name, 0));
		// The link's own entry may say other things of the file than the file's: the last word counts.
		const owned = status.uid !== entry.uid || status.gid !== entry.gid;
		if (owned) this.#chown(directory, name, entry);
		// fchmodat follows, and a symlink has no mode of its own.
		const symlink = (status.mode & S_IFMT) === S_IFLNK;
		if (!symlink && (owned || (status.mode & 0o7777) !== entry.mode))
			this.#kernel.fchmodat(directory.fd, name, entry.mode, 0);
		this.#attributes.setAt(entry, directory.fd, name);
		this.#kernel.utimensat(directory.fd, name, timesOf(entry), AT_SYMLINK_NOFOLLOW);
	}

	/** Devices and FIFOs. */
	#createNode(entry: TarEntry, directory: LayerDirectory, name: Uint8Array): void {
		if (entry.type !== "fifo" && this.#options.skipDevices === true) {
			this.#skippedDevices++;
			return;
		}
		const type = entry.type === "fifo" ? S_IFIFO : entry.type === "block" ? S_IFBLK : S_IFCHR;
		const device = entry.type === "fifo" ? 0n : deviceNumber(entry.major, entry.minor);
		this.#replacing(directory, name, () => this.#kernel.mknodat(directory.fd, name, type | entry.mode, device));
		this.#count(0);
		if (entry.uid !== 0 || entry.gid !== 0 || directory.setgid) this.#chown(directory, name, entry);
		this.#attributes.setAt(entry, directory.fd, name);
		this.#kernel.fchmodat(directory.fd, name, entry.mode, 0);
		this.#kernel.utimensat(directory.fd, name, timesOf(entry), AT_SYMLINK_NOFOLLOW);
	}

	/** Does `make`; if the name is taken, removes what is there and does it again. */
	#replacing<T>(directory: LayerDirectory, name: Uint8Array, make: () => T): T {
		try {
			return make();
		} catch (reason) {
			if (!failedWith(reason, "EEXIST")) throw reason;
		}
		this.#remove(directory, name, statusAt(this.#kernel, directory.fd, name));
		return make();
	}

	#remove(directory: LayerDirectory, name: Uint8Array, status: FileStatus | undefined): void {
		this.#replaced = true;
		removeTree(this.#kernel, directory.fd, name);
		const type = (status?.mode ?? 0) & S_IFMT;
		if (type === S_IFDIR || type === S_IFLNK) this.#directories.forget();
	}

	#chown(directory: LayerDirectory, name: Uint8Array, { uid, gid }: TarEntry): void {
		// The same 32 bits: an id may be larger than an int.
		this.#kernel.fchownat(directory.fd, name, uid | 0, gid | 0, AT_SYMLINK_NOFOLLOW);
	}
}
