import { type FileHandle, mkdir, open, readdir, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import type { BlobInfo, ByteRange, ContentStore, ContentWriter, IngestStatus, WriterOptions } from "./content-store.ts";
import { type Digest, isDigest, parseDigest } from "./digest.ts";
import { chunkBytes, diskError, errnoOf, removeTree } from "./disk.ts";
import { IngestDirectory, readIngests } from "./ingest-directory.ts";
import { LocalWriter } from "./local-writer.ts";

const contentIdentity = (digest: Digest): ObjectIdentity => ({ kind: "content", id: digest });
const ingestIdentity = (ref: string): ObjectIdentity => ({ kind: "ingest", id: ref });

/**
 * The content store on disk, in containerd's layout (core/content, plugins/content/local):
 * `blobs/<algorithm>/<hex>` and `ingest/<hash of the ref>/{data,ref,startedat,updatedat,total}`.
 * One process owns the directory; who writes which ref is known in memory only.
 */
export class LocalContentStore implements ContentStore {
	readonly #blobs: string;
	readonly #ingests: string;
	readonly #now: () => Date;
	readonly #writers = new Map<string, LocalWriter | "opening" | "aborting">();

	private constructor(root: string, now: () => Date) {
		this.#blobs = join(root, "blobs");
		this.#ingests = join(root, "ingest");
		this.#now = now;
	}

	/** Makes the directories below `root` where needed and sweeps what a crash left of half-made ingests. */
	static async open(root: string, now: () => Date = () => new Date()): Promise<LocalContentStore> {
		const store = new LocalContentStore(root, now);
		await mkdir(join(store.#blobs, "sha256"), { recursive: true });
		await mkdir(store.#ingests, { recursive: true });
		await readIngests(store.#ingests, removeTree);
		return store;
	}

	path(digest: Digest): string {
		const { algorithm, hex } = parseDigest(digest);
		return join(this.#blobs, algorithm, hex);
	}

	async writer(ref: string, { total = 0, expected, signal }: WriterOptions = {}): Promise<ContentWriter> {
		if (ref === "") throw new DaemonError("InvalidArgument", ingestIdentity(ref), "ref must not be empty");
		if (expected !== undefined) parseDigest(expected);
		if (this.#writers.has(ref)) throw new DaemonError("Unavailable", ingestIdentity(ref), "ref locked by a writer");
		this.#writers.set(ref, "opening");
		let handle: FileHandle | undefined;
		try {
			if (expected !== undefined) await this.#assertAbsent(expected);
			const directory = new IngestDirectory(this.#ingests, ref);
			const start = await this.#startOf(directory, total);
			handle = await open(directory.data, "r+");
			const writer = await LocalWriter.open(
				{
					directory,
					handle,
					start,
					expected,
					blobPath: (digest) => this.path(digest),
					release: () => this.#writers.delete(ref),
					now: this.#now,
				},
				signal,
			);
			this.#writers.set(ref, writer);
			return writer;
		} catch (reason) {
			await handle?.close();
			this.#writers.delete(ref);
			throw diskError(reason, ingestIdentity(ref));
		}
	}

	async info(digest: Digest): Promise<BlobInfo> {
		try {
			return infoOf(digest, await stat(this.path(digest)));
		} catch (reason) {
			throw notFoundOr(reason, digest);
		}
	}

	async *read(digest: Digest, { offset = 0, length }: ByteRange = {}): AsyncGenerator<Uint8Array, void, undefined> {
		const handle = await open(this.path(digest), "r").catch((reason: unknown) => {
			throw notFoundOr(reason, digest);
		});
		try {
			const { size } = await handle.stat();
			if (offset < 0 || offset > size)
				throw new DaemonError("OutOfRange", contentIdentity(digest), `offset ${offset} is beyond its ${size} bytes`);
			const end = length === undefined ? size : Math.min(size, offset + Math.max(0, length));
			for (let position = offset; position < end; ) {
				const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, end - position));
				const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
				if (bytesRead === 0)
					throw new DaemonError("DataLoss", contentIdentity(digest), `ends at ${position} of ${size} bytes`);
				position += bytesRead;
				yield buffer.subarray(0, bytesRead);
			}
		} catch (reason) {
			throw diskError(reason, contentIdentity(digest));
		} finally {
			await handle.close();
		}
	}

	async readAll(digest: Digest, limit: number): Promise<Uint8Array> {
		const { size } = await this.info(digest);
		if (size > limit)
			throw new DaemonError("ResourceExhausted", contentIdentity(digest), `${size} bytes, the limit is ${limit}`);
		const chunks: Uint8Array[] = [];
		for await (const chunk of this.read(digest)) chunks.push(chunk);
		return Buffer.concat(chunks);
	}

	async delete(digest: Digest): Promise<void> {
		try {
			await unlink(this.path(digest));
		} catch (reason) {
			throw notFoundOr(reason, digest);
		}
	}

	async *walk(): AsyncGenerator<BlobInfo, void, undefined> {
		for (const algorithm of await readdir(this.#blobs)) {
			for (const hex of await readdir(join(this.#blobs, algorithm))) {
				const digest = `${algorithm}:${hex}`;
				if (!isDigest(digest)) continue;
				const found = await stat(this.path(digest)).catch((reason: unknown) => {
					if (errnoOf(reason) === "ENOENT") return undefined;
					throw reason;
				});
				if (found !== undefined) yield infoOf(digest, found);
			}
		}
	}

	async status(ref: string): Promise<IngestStatus> {
		const writer = this.#writers.get(ref);
		if (writer instanceof LocalWriter) return writer.status();
		const status = await new IngestDirectory(this.#ingests, ref).read();
		if (status === undefined) throw new DaemonError("NotFound", ingestIdentity(ref), "not found");
		return status;
	}

	async statuses(): Promise<readonly IngestStatus[]> {
		return (await readIngests(this.#ingests)).map((status) => {
			const writer = this.#writers.get(status.ref);
			return writer instanceof LocalWriter ? writer.status() : status;
		});
	}

	async abort(ref: string): Promise<void> {
		if (this.#writers.has(ref)) throw new DaemonError("Unavailable", ingestIdentity(ref), "ref locked by a writer");
		this.#writers.set(ref, "aborting");
		try {
			const directory = new IngestDirectory(this.#ingests, ref);
			if ((await directory.read()) === undefined) throw new DaemonError("NotFound", ingestIdentity(ref), "not found");
			await directory.remove();
		} catch (reason) {
			throw diskError(reason, ingestIdentity(ref));
		} finally {
			this.#writers.delete(ref);
		}
	}

	async #startOf(directory: IngestDirectory, total: number): Promise<IngestStatus> {
		const left = await directory.read();
		if (left === undefined) return await this.#create(directory, total);
		if (total > 0 && left.total > 0 && total !== left.total) {
			const problem = `total of ${total} bytes differs from the ${left.total} it was started with`;
			throw new DaemonError("InvalidArgument", ingestIdentity(directory.ref), problem);
		}
		return { ...left, total: left.total === 0 ? total : left.total };
	}

	async #create(directory: IngestDirectory, total: number): Promise<IngestStatus> {
		try {
			return await directory.create(total, this.#now());
		} catch (reason) {
			await directory.remove();
			throw reason;
		}
	}

	async #assertAbsent(digest: Digest): Promise<void> {
		try {
			await stat(this.path(digest));
		} catch (reason) {
			if (errnoOf(reason) === "ENOENT") return;
			throw reason;
		}
		throw new DaemonError("AlreadyExists", contentIdentity(digest), "already exists");
	}
}

const infoOf = (
	digest: Digest,
	{ size, mtime, birthtime }: { size: number; mtime: Date; birthtime: Date },
): BlobInfo => ({
	digest,
	size,
	createdAt: birthtime < mtime ? birthtime : mtime,
	updatedAt: mtime,
});

const notFoundOr = (reason: unknown, digest: Digest): DaemonError =>
	errnoOf(reason) === "ENOENT"
		? new DaemonError("NotFound", contentIdentity(digest), "not found", { cause: reason })
		: diskError(reason, contentIdentity(digest));
