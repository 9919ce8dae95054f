import { type Dirent, readdirSync } from "node:fs";
import type { Kernel } from "../sys/kernel.ts";
import { AT_FDCWD, cBytes } from "./file-bytes.ts";
import { statusAt } from "./file-status.ts";

export interface DiskUsage {
	/** Allocated bytes. */
	readonly size: bigint;
	readonly inodes: bigint;
}

/**
 * What a directory and all below it take on disk; a file with several names counts once (as `du`, and containerd's
 * fs.DiskUsage). What vanishes meanwhile is not counted. Throws system errors. `each` is called for every directory and
 * may throw to end early.
 */
export function diskUsage(kernel: Pick<Kernel, "statx">, root: string, each?: () => void): DiskUsage {
	let blocks = 0;
	let inodes = 0;
	const linked = new Set<bigint>();
	const count = (path: string): void => {
		const status = statusAt(kernel, AT_FDCWD, cBytes(path));
		if (status === undefined) return;
		if (status.links > 1) {
			if (linked.has(status.inode)) return;
			linked.add(status.inode);
		}
		blocks += status.blocks;
		inodes++;
	};
	const start = Buffer.from(root).toString("latin1");
	const ahead = [start];
	count(start);
	for (let directory = ahead.pop(); directory !== undefined; directory = ahead.pop()) {
		each?.();
		for (const entry of list(directory)) {
			const path = `${directory}/${entry.name}`;
			count(path);
			if (entry.isDirectory()) ahead.push(path);
		}
	}
	return { size: BigInt(blocks) * 512n, inodes: BigInt(inodes) };
}

function list(directory: string): Dirent<string>[] {
	try {
		return readdirSync(Buffer.from(directory, "latin1"), { withFileTypes: true, encoding: "latin1" });
	} catch (reason) {
		if ((reason as NodeJS.ErrnoException).code === "ENOENT") return [];
		throw reason;
	}
}
