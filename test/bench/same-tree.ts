import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SnapshotsDefinition } from "../../src/gen/containerd/services/snapshots/v1/snapshots.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { execute } from "./execute.ts";
import type { Peer } from "./peers.ts";

/** What a peer unpacked: entries counted, and a digest over every one of them. */
export interface TreeDigest {
	readonly entries: number;
	readonly digest: string;
}

/**
 * Reads the tree of a committed snapshot through a mount of a view. The digest is that of a sorted archive which holds
 * every file's name, type, mode, owner, nanosecond mtime, extended attributes, hard and symbolic links and content, so
 * equal digests mean equal trees. The root itself is left out: it belongs to the snapshot, and no peer takes its date from
 * a layer.
 */
export async function treeOf(peer: Peer, namespace: string, chainId: string, lease: string): Promise<TreeDigest> {
	const snapshots = connect(peer.socket, namespace, SnapshotsDefinition, lease);
	const key = "bench-view";
	const { mounts } = await snapshots.view({ snapshotter: "overlayfs", key, parent: chainId });
	const target = mkdtempSync(join(tmpdir(), "troupe-bench-tree-"));
	try {
		for (const { type, source, options } of mounts)
			await execute("mount", ["-t", type, "-o", options.join(","), source, target]);
		return await digestOf(target);
	} finally {
		await execute("umount", [target]);
		rmdirSync(target);
		await snapshots.remove({ snapshotter: "overlayfs", key });
	}
}

async function digestOf(directory: string): Promise<TreeDigest> {
	const flags = [
		"--xattrs",
		"--xattrs-include=*",
		"--xattrs-exclude=trusted.overlay.*",
		"--sort=name",
		"--format=pax",
		"--numeric-owner",
	];
	const tar = spawn(
		"tar",
		[
			...flags,
			"--pax-option=delete=atime,delete=ctime",
			"-C",
			directory,
			"-cvf",
			"-",
			...readdirSync(directory).sort(),
		],
		{
			stdio: ["ignore", "pipe", "pipe"],
		},
	);
	const hash = createHash("sha256");
	let entries = 0;
	tar.stdout.on("data", (chunk: Buffer) => hash.update(chunk));
	tar.stderr.on("data", (chunk: Buffer) => {
		for (const byte of chunk) if (byte === 10) entries++;
	});
	const [code] = await once(tar, "close");
	if (code !== 0) throw new Error(`tar of ${directory} ended with ${code}`);
	return { entries, digest: hash.digest("hex") };
}
