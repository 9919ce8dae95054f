import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { IngestStatus } from "./content-store.ts";
import { digestOf, parseDigest } from "./digest.ts";
import { errnoOf, readText, removeTree } from "./disk.ts";

/**
 * One ingest on disk, in containerd's layout: a directory named by the hash of its ref, with `data` and the files `ref`,
 * `startedat`, `updatedat`, `total` (absent if unknown). `data` is made last and moved away by the commit, so that a
 * directory without it is a remnant of a crash.
 */
export class IngestDirectory {
	readonly ref: string;
	readonly path: string;

	constructor(ingestRoot: string, ref: string) {
		this.ref = ref;
		this.path = join(ingestRoot, parseDigest(digestOf(ref)).hex);
	}

	get data(): string {
		return join(this.path, "data");
	}

	/** What was left by an earlier writer; undefined if there is no whole ingest. */
	async read(): Promise<IngestStatus | undefined> {
		return readStatus(this.path);
	}

	/** Makes a new, empty ingest; what a crash left in its place is removed. */
	async create(total: number, startedAt: Date): Promise<IngestStatus> {
		await removeTree(this.path);
		await mkdir(this.path, { mode: 0o755 });
		const time = startedAt.toISOString();
		await writeFile(join(this.path, "ref"), this.ref);
		await writeFile(join(this.path, "startedat"), time);
		await writeFile(join(this.path, "updatedat"), time);
		if (total > 0) await writeFile(join(this.path, "total"), String(total));
		await writeFile(this.data, "", { mode: 0o644 });
		return { ref: this.ref, offset: 0, total, startedAt, updatedAt: startedAt };
	}

	async touch(updatedAt: Date): Promise<void> {
		await writeFile(join(this.path, "updatedat"), updatedAt.toISOString());
	}

	remove(): Promise<void> {
		return removeTree(this.path);
	}
}

async function readStatus(path: string): Promise<IngestStatus | undefined> {
	const [ref, started, updated, total] = await Promise.all(
		["ref", "startedat", "updatedat", "total"].map((name) => readText(join(path, name))),
	);
	const data = await stat(join(path, "data")).catch((reason: unknown) => {
		if (errnoOf(reason) === "ENOENT") return undefined;
		throw reason;
	});
	if (ref === undefined || ref === "" || data === undefined) return undefined;
	return {
		ref,
		offset: data.size,
		total: Number(total ?? 0),
		startedAt: timeOr(started, data.birthtime),
		updatedAt: timeOr(updated, data.mtime),
	};
}

/** A crash may leave a time file empty. */
function timeOr(text: string | undefined, fallback: Date): Date {
	const time = new Date(text ?? "");
	return Number.isNaN(time.getTime()) ? fallback : time;
}

/** Every whole ingest below the root; the paths of what is not whole go to `remnant`. */
export async function readIngests(
	ingestRoot: string,
	remnant?: (path: string) => Promise<void>,
): Promise<readonly IngestStatus[]> {
	const found: IngestStatus[] = [];
	for (const name of await readdir(ingestRoot)) {
		const path = join(ingestRoot, name);
		const status = await readStatus(path);
		if (status !== undefined) found.push(status);
		else await remnant?.(path);
	}
	return found;
}
