import { constants } from "node:fs";
import type { Kernel } from "../../sys/kernel.ts";
import { failedWith } from "../../sys/sys-error.ts";
import { cBytes, O_CLOEXEC, O_PATH, S_IFDIR, S_IFLNK, S_IFMT, S_ISGID } from "../file-bytes.ts";
import { isWhiteout, statusAt, statusOf } from "../file-status.ts";
import { readable } from "../tar/tar-entry.ts";
import { tarError } from "../tar/tar-error.ts";

export type DirectoryCalls = Pick<
	Kernel,
	"openat2" | "close" | "mkdirat" | "statx" | "readlinkat" | "unlinkat" | "open"
>;

/** An open directory of the layer. Names are looked up in it with the *at calls, one component at a time. */
export interface LayerDirectory {
	/** O_PATH. */
	readonly fd: number;
	/** New entries take the directory's group, not root's. */
	readonly setgid: boolean;
}

/** What the directories need from whoever knows the layer's form. */
export interface ImpliedDirectories {
	/** A directory that no entry described yet was made. */
	made(path: string): void;
	/** It took the place of a whiteout: nothing of lower layers may show through. */
	replacedWhiteout(directory: LayerDirectory): void;
}

const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_IN_ROOT = 0x10;
/** Descriptors that stay open; a layer's entries come directory by directory. */
const cacheSize = 128;
/** As the kernel's limit (path_resolution(7)). */
const maxSymlinks = 40;
/** openat2 answers EAGAIN when something on the machine was renamed while it checked a `..`. */
const maxTries = 1000;

/**
 * The directories of one layer, found by openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS: whatever symlinks the
 * layer holds, the kernel resolves them as if the layer's root were `/`. Descriptors are kept by path; nothing else may
 * change the layer meanwhile. Paths are those of entry-path.ts.
 */
export class LayerDirectories {
	readonly #kernel: DirectoryCalls;
	readonly #implied: ImpliedDirectories;
	readonly #root: LayerDirectory;
	readonly #how = Buffer.alloc(24);
	readonly #open = new Map<string, LayerDirectory>();
	readonly #forgotten: number[] = [];

	/** Throws SysError if the root is not a directory. */
	constructor(kernel: DirectoryCalls, root: string, implied: ImpliedDirectories) {
		this.#kernel = kernel;
		this.#implied = implied;
		this.#how.writeBigUInt64LE(BigInt(O_PATH | constants.O_DIRECTORY | O_CLOEXEC), 0);
		this.#how.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
		this.#root = this.#directory(kernel.open(root, O_PATH | constants.O_DIRECTORY | O_CLOEXEC, 0));
	}

	get root(): LayerDirectory {
		return this.#root;
	}

	/**
	 * The directory, made with its parents if it is not there. It may close directories that were answered before. Throws
	 * InvalidArgument if something else is in the way.
	 */
	make(path: string): LayerDirectory {
		try {
			const found = this.find(path);
			if (found !== undefined) return found;
		} catch (reason) {
			if (!failedWith(reason, "ENOTDIR")) throw reason;
		}
		return this.#walk(path);
	}

	/** The directory, or undefined for nothing there. Throws SysError (ENOTDIR, ELOOP). */
	find(path: string): LayerDirectory | undefined {
		if (path === "") return this.#root;
		const known = this.#open.get(path);
		if (known !== undefined) return known;
		const fd = this.#openat2(path);
		if (fd === undefined) return undefined;
		const directory = this.#directory(fd);
		this.#open.set(path, directory);
		return directory;
	}

	/** Closes what is too much or forgotten. Only between entries: within one, directories are in use. */
	trim(): void {
		for (const fd of this.#forgotten) this.#kernel.close(fd);
		this.#forgotten.length = 0;
		for (const [path, { fd }] of this.#open) {
			if (this.#open.size <= cacheSize) return;
			this.#open.delete(path);
			this.#kernel.close(fd);
		}
	}

	/**
	 * Call it when a directory or a symlink was removed, or a directory got its set-group-id: what is known by path may no
	 * longer be true. Descriptors stay open until the next {@link trim}.
	 */
	forget(): void {
		for (const { fd } of this.#open.values()) this.#forgotten.push(fd);
		this.#open.clear();
	}

	close(): void {
		this.forget();
		this.trim();
		this.#kernel.close(this.#root.fd);
	}

	#directory(fd: number): LayerDirectory {
		return { fd, setgid: (statusOf(this.#kernel, fd).mode & S_ISGID) !== 0 };
	}

	#openat2(path: string): number | undefined {
		for (let tries = 1; ; tries++)
			try {
				return this.#kernel.openat2(this.#root.fd, cBytes(path), this.#how, this.#how.length);
			} catch (reason) {
				if (failedWith(reason, "ENOENT")) return undefined;
				if (!failedWith(reason, "EAGAIN") || tries === maxTries) throw reason;
			}
	}

	/**
	 * Goes part by part, follows symlinks itself and makes what is missing, also behind a dangling symlink. `walked` never
	 * holds a symlink, so opening it cannot surprise.
	 */
	#walk(path: string): LayerDirectory {
		let walked: string[] = [];
		const ahead = path.split("/").reverse();
		let links = 0;
		for (let part = ahead.pop(); part !== undefined; part = ahead.pop()) {
			if (part === "" || part === ".") continue;
			if (part === "..") {
				walked.pop();
				continue;
			}
			this.trim();
			const parent = this.#existing(walked.join("/"));
			const link = this.#enter(parent, part, [...walked, part].join("/"));
			if (link === undefined) {
				walked.push(part);
				continue;
			}
			if (++links > maxSymlinks) throw tarError(`too many symlinks in ${JSON.stringify(readable(path))}`);
			if (link.startsWith("/")) walked = [];
			ahead.push(...link.split("/").reverse());
		}
		return this.#existing(walked.join("/"));
	}

	#existing(path: string): LayerDirectory {
		const directory = this.find(path);
		if (directory === undefined) throw tarError(`directory ${JSON.stringify(readable(path))} vanished`, "Aborted");
		return directory;
	}

	/** Sees to it that `name` is a directory of `parent`; answers the target if it is a symlink. */
	#enter(parent: LayerDirectory, name: string, path: string): string | undefined {
		const bytes = cBytes(name);
		const status = statusAt(this.#kernel, parent.fd, bytes);
		if (status === undefined) {
			this.#kernel.mkdirat(parent.fd, bytes, 0o755);
			this.#implied.made(path);
			return undefined;
		}
		const type = status.mode & S_IFMT;
		if (type === S_IFDIR) return undefined;
		if (type === S_IFLNK) return this.#readLink(parent.fd, bytes);
		if (!isWhiteout(status)) throw tarError(`${JSON.stringify(readable(path))} is not a directory`);
		this.#kernel.unlinkat(parent.fd, bytes, 0);
		this.#kernel.mkdirat(parent.fd, bytes, 0o755);
		this.#implied.replacedWhiteout(this.#existing(path));
		this.#implied.made(path);
		return undefined;
	}

	#readLink(fd: number, name: Uint8Array): string {
		const target = Buffer.alloc(4096);
		return target.toString("latin1", 0, this.#kernel.readlinkat(fd, name, target, target.length));
	}
}
