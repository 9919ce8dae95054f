import { constants } from "node:fs";
import { lstat, open, readlink } from "node:fs/promises";
import { DaemonError, type ObjectIdentity } from "../../errors/daemon-error.ts";
import type { Kernel } from "../../sys/kernel.ts";
import { failedWith } from "../../sys/sys-error.ts";

/** How many symlinks a path may lead through (the kernel's limit is 40 too, path_resolution(7)). */
const linkLimit = 40;
const opaqueNames = ["trusted.overlay.opaque", "user.overlay.opaque"] as const;

export interface MergedLayers {
	/** Directories of the layers, the uppermost first. */
	readonly layers: readonly string[];
	/** What the layers are of, for errors. */
	readonly object: ObjectIdentity;
	readonly kernel: Pick<Kernel, "lgetxattr">;
}

/** A directory as overlayfs shows it: the directories of the layers that share in it, the uppermost first. */
type MergedDirectory = readonly string[];

/**
 * Reads one small file of a stack of layers as overlayfs would show it, without a mount. Symlinks are followed inside the
 * stack only: each component is looked up with lstat in directories that were found the same way, so nothing in an image
 * leads out of it. Whiteouts and opaque directories hide what lies below (Documentation/filesystems/overlayfs.rst).
 * Undefined if the file is not there (or is no file); ResourceExhausted if it is larger than `limit` bytes.
 */
export async function readMergedFile(
	{ layers, object, kernel }: MergedLayers,
	path: string,
	limit: number,
): Promise<Uint8Array | undefined> {
	const directories: MergedDirectory[] = [layers];
	let left = components(path);
	let links = 0;
	while (left.length > 0) {
		const [name = "", ...rest] = left;
		left = rest;
		if (name === "..") {
			if (directories.length > 1) directories.pop();
			continue;
		}
		const found = await lookUp(directories.at(-1) ?? [], name, kernel);
		if (found === undefined) return undefined;
		if (found.type === "directory") directories.push(found.directories);
		else if (found.type === "link") {
			links += 1;
			if (links > linkLimit)
				throw new DaemonError("InvalidArgument", object, `"${path}" leads through too many symlinks`);
			if (found.target.startsWith("/")) directories.length = 1;
			left = [...components(found.target), ...rest];
		} else return rest.length > 0 ? undefined : await readSmallFile(found.path, limit, object);
	}
	return undefined;
}

const components = (path: string): string[] => path.split("/").filter((name) => name !== "" && name !== ".");

type Found =
	| { readonly type: "directory"; readonly directories: MergedDirectory }
	| { readonly type: "link"; readonly target: string }
	| { readonly type: "file"; readonly path: string };

async function lookUp(
	parents: MergedDirectory,
	name: string,
	kernel: MergedLayers["kernel"],
): Promise<Found | undefined> {
	const directories: string[] = [];
	for (const parent of parents) {
		const path = `${parent}/${name}`;
		const stat = await lstat(path).catch((reason) => {
			if (failedWith(reason, "ENOENT")) return undefined;
			throw reason;
		});
		if (stat === undefined) continue;
		if (stat.isDirectory()) {
			directories.push(path);
			if (isOpaque(path, kernel)) break;
			continue;
		}
		if (directories.length > 0) break; // a directory above hides what is none
		if (stat.isSymbolicLink()) return { type: "link", target: await readlink(path) };
		return stat.isFile() ? { type: "file", path } : undefined; // a whiteout, or nothing one could read
	}
	return directories.length > 0 ? { type: "directory", directories } : undefined;
}

function isOpaque(path: string, kernel: MergedLayers["kernel"]): boolean {
	const value = Buffer.alloc(1);
	return opaqueNames.some((name) => {
		try {
			return kernel.lgetxattr(path, name, value, value.length) === 1 && value.toString() === "y";
		} catch (reason) {
			if (failedWith(reason, "ENODATA", "EOPNOTSUPP", "ERANGE")) return false;
			throw reason;
		}
	});
}

async function readSmallFile(path: string, limit: number, object: ObjectIdentity): Promise<Uint8Array> {
	const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
	try {
		const { size } = await file.stat();
		if (size > limit)
			throw new DaemonError("ResourceExhausted", object, `"${path}" has ${size} bytes, more than ${limit}`);
		return await file.readFile();
	} finally {
		await file.close();
	}
}
