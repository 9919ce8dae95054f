import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { execute } from "./execute.ts";

/** A layer on disk: gzip file with the digests that image manifests and configs name. */
export interface LayerFile {
	readonly path: string;
	readonly digest: string;
	readonly diffId: string;
	readonly size: number;
}

const minimumBytes = 1024 * 1024 * 1024;
const minimumFiles = 30_000;
const layerCount = 8;

interface Tree {
	readonly path: string;
	readonly bytes: number;
	readonly files: number;
}

/**
 * Real trees of the host below /usr, most files first until both minima are reached, spread over the layers by size.
 * Real trees have what made ones forget: setuid files, long names, hard links, owners, dates, many small files.
 */
export async function hostTrees(): Promise<string[][]> {
	const trees: Tree[] = [];
	for (const parent of ["/usr/lib", "/usr/share", "/usr/include", "/usr/local", "/usr/local/lib"]) {
		for (const name of readdirSync(parent)) {
			const path = join(parent, name);
			if (path === "/usr/local/lib" || !lstatSync(path).isDirectory()) continue;
			const bytes = Number((await execute("du", ["-xsb", path], { capture: true })).split("\t")[0]);
			const files = Number((await execute("du", ["-xs", "--inodes", path], { capture: true })).split("\t")[0]);
			if (bytes < 500_000_000) trees.push({ path, bytes, files });
		}
	}
	trees.sort((a, b) => b.bytes - a.bytes || a.path.localeCompare(b.path));
	const layers = Array.from({ length: layerCount }, () => ({ paths: [] as string[], bytes: 0 }));
	let bytes = 0;
	let files = 0;
	for (const tree of trees) {
		if (bytes >= minimumBytes && files >= minimumFiles) break;
		const smallest = layers.reduce((a, b) => (a.bytes <= b.bytes ? a : b));
		smallest.paths.push(tree.path.slice(1));
		smallest.bytes += tree.bytes;
		bytes += tree.bytes;
		files += tree.files;
	}
	if (bytes < minimumBytes || files < minimumFiles)
		throw new Error(`the trees of this host are too small for the benchmark: ${bytes} bytes, ${files} files`);
	return layers.map((layer) => layer.paths);
}

const parentsOf = (path: string): string[] => {
	const parts = path.split("/").slice(0, -1);
	return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
};

/** Packs paths (relative to /) as a gzip layer. */
export async function packLayer(paths: readonly string[], file: string): Promise<LayerFile> {
	const flags = ["--xattrs", "--format=pax", "--numeric-owner", "-C", "/", "-cf", "-"];
	// directories above the trees are described too, as in images of distributions: else each peer dates them by itself
	const parents = new Set(paths.flatMap((path) => [".", ...parentsOf(path)]));
	const tar = spawn("tar", [...flags, "--no-recursion", ...[...parents].sort(), "--recursion", ...paths], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const gzip = spawn("gzip", ["-6", "-n"], { stdio: ["pipe", "pipe", "inherit"] });
	const diff = createHash("sha256");
	const blob = createHash("sha256");
	let size = 0;
	tar.stdout.on("data", (chunk: Buffer) => diff.update(chunk));
	gzip.stdout.on("data", (chunk: Buffer) => {
		blob.update(chunk);
		size += chunk.length;
	});
	const ended = once(tar, "exit");
	await Promise.all([pipeline(tar.stdout, gzip.stdin), pipeline(gzip.stdout, createWriteStream(file))]);
	const [code] = await ended;
	if (code !== 0) throw new Error(`tar ended with ${code}`);
	return { path: file, digest: `sha256:${blob.digest("hex")}`, diffId: `sha256:${diff.digest("hex")}`, size };
}
