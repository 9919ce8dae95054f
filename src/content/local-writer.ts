import type { Hash } from "node:crypto";
import { type FileHandle, mkdir, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import type { BlobInfo, CommitOptions, ContentWriter, IngestStatus } from "./content-store.ts";
import { type Digest, digester, parseDigest } from "./digest.ts";
import { chunkBytes, diskError, errnoOf, isDiskFull, syncDirectory } from "./disk.ts";
import type { IngestDirectory } from "./ingest-directory.ts";

export interface LocalWriterParts {
	readonly directory: IngestDirectory;
	readonly handle: FileHandle;
	readonly start: IngestStatus;
	/** Digest to come, if known. */
	readonly expected: Digest | undefined;
	readonly blobPath: (digest: Digest) => string;
	/** Gives the ref free; called once. */
	readonly release: () => void;
	readonly now: () => Date;
}

/** The writer of the content store on disk. The hash runs on this thread while the disk is written on the pool. */
export class LocalWriter implements ContentWriter {
	readonly ref: string;
	readonly path: string;
	readonly #parts: LocalWriterParts;
	readonly #identity: ObjectIdentity;
	readonly #algorithm: string;
	#hash: Hash;
	#offset = 0;
	#updatedAt: Date;
	#closed = false;

	private constructor(parts: LocalWriterParts) {
		this.#parts = parts;
		this.ref = parts.directory.ref;
		this.path = parts.directory.data;
		this.#identity = { kind: "ingest", id: this.ref };
		this.#algorithm = parts.expected === undefined ? "sha256" : parseDigest(parts.expected).algorithm;
		this.#hash = digester(this.#algorithm);
		this.#updatedAt = parts.start.updatedAt;
	}

	/** Opens at the end of what the ingest holds, after hashing it: the state of a hash cannot be kept on disk. */
	static async open(parts: LocalWriterParts, signal?: AbortSignal): Promise<LocalWriter> {
		const writer = new LocalWriter(parts);
		await writer.#rehash(parts.start.offset, signal);
		return writer;
	}

	get offset(): number {
		return this.#offset;
	}

	status(): IngestStatus {
		const { start, expected } = this.#parts;
		return {
			...start,
			offset: this.#offset,
			updatedAt: this.#updatedAt,
			...(expected === undefined ? {} : { expected }),
		};
	}

	digest(): Digest {
		return `${this.#algorithm}:${this.#hash.copy().digest("hex")}`;
	}

	async write(chunks: Uint8Array | readonly Uint8Array[]): Promise<void> {
		this.#assertOpen();
		const list = chunks instanceof Uint8Array ? [chunks] : chunks;
		const length = list.reduce((sum, chunk) => sum + chunk.length, 0);
		if (length === 0) return;
		const written = this.#writeFully(list, length);
		// While the pool writes. If the disk fails the hash is ahead of it, but then this writer is closed.
		for (const chunk of list) this.#hash.update(chunk);
		try {
			await written;
		} catch (reason) {
			await this.#fail(reason);
		}
		this.#offset += length;
		this.#updatedAt = this.#parts.now();
	}

	async truncate(size: number): Promise<void> {
		this.#assertOpen();
		if (size < 0 || size > this.#offset) {
			const problem = `cannot truncate to ${size} bytes, it holds ${this.#offset}`;
			throw new DaemonError("OutOfRange", this.#identity, problem);
		}
		if (size === this.#offset) return;
		try {
			await this.#parts.handle.truncate(size);
			await this.#rehash(size);
		} catch (reason) {
			await this.#fail(reason);
		}
		this.#updatedAt = this.#parts.now();
	}

	async commit({ size = 0, expected = this.#parts.expected }: CommitOptions = {}): Promise<BlobInfo> {
		this.#assertOpen();
		const digest = this.digest();
		const problem = this.#mismatch(digest, size, expected);
		if (problem !== undefined) {
			await this.close();
			throw new DaemonError("FailedPrecondition", this.#identity, problem);
		}
		try {
			return await this.#publish(digest);
		} catch (reason) {
			return await this.#fail(reason);
		}
	}

	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		try {
			await this.#parts.handle.close();
			await this.#parts.directory.touch(this.#updatedAt);
		} catch (reason) {
			// A full disk keeps an old time; the ingest's bytes are what counts.
			if (!isDiskFull(reason)) throw diskError(reason, this.#identity);
		} finally {
			this.#parts.release();
		}
	}

	async discard(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		try {
			await this.#parts.handle.close();
			await this.#parts.directory.remove();
		} catch (reason) {
			throw diskError(reason, this.#identity);
		} finally {
			this.#parts.release();
		}
	}

	#mismatch(digest: Digest, size: number, expected: Digest | undefined): string | undefined {
		if (size > 0 && size !== this.#offset) return `unexpected commit size ${this.#offset}, expected ${size}`;
		if (expected === undefined || expected === digest) return undefined;
		if (parseDigest(expected).algorithm !== this.#algorithm)
			return `expected digest ${expected} needs a writer opened with it, this one computes ${this.#algorithm}`;
		return `unexpected commit digest ${digest}, expected ${expected}`;
	}

	/** Bytes first, then the name: after a power cut a blob is whole or absent. */
	async #publish(digest: Digest): Promise<BlobInfo> {
		const { handle, blobPath } = this.#parts;
		const target = blobPath(digest);
		if (await exists(target)) {
			await this.discard();
			throw new DaemonError("AlreadyExists", { kind: "content", id: digest }, "already exists");
		}
		await handle.sync();
		await handle.chmod(0o444);
		const size = this.#offset;
		await mkdir(dirname(target), { recursive: true });
		await rename(this.path, target);
		await syncDirectory(dirname(target));
		const { mtime } = await handle.stat();
		await this.discard();
		return { digest, size, createdAt: mtime, updatedAt: mtime };
	}

	async #writeFully(list: readonly Uint8Array[], length: number): Promise<void> {
		let rest = [...list];
		let position = this.#offset;
		const end = position + length;
		while (position < end) {
			const { bytesWritten } = await this.#parts.handle.writev(rest, position);
			position += bytesWritten;
			if (position < end) rest = dropBytes(rest, bytesWritten);
		}
	}

	async #rehash(length: number, signal?: AbortSignal): Promise<void> {
		this.#hash = digester(this.#algorithm);
		this.#offset = 0;
		const buffer = Buffer.allocUnsafe(Math.min(length, chunkBytes));
		while (this.#offset < length) {
			signal?.throwIfAborted();
			const wanted = Math.min(buffer.length, length - this.#offset);
			const { bytesRead } = await this.#parts.handle.read(buffer, 0, wanted, this.#offset);
			if (bytesRead === 0) break;
			this.#hash.update(buffer.subarray(0, bytesRead));
			this.#offset += bytesRead;
		}
	}

	/** After an error of the disk the writer is of no use; a full disk gets its space back at once. */
	async #fail(reason: unknown): Promise<never> {
		if (isDiskFull(reason)) await this.discard();
		else await this.close();
		throw diskError(reason, this.#identity);
	}

	#assertOpen(): void {
		if (this.#closed) throw new DaemonError("FailedPrecondition", this.#identity, "writer is closed");
	}
}

async function exists(path: string): Promise<boolean> {
	try {
		await stat(path);
		return true;
	} catch (reason) {
		if (errnoOf(reason) === "ENOENT") return false;
		throw reason;
	}
}

function dropBytes(list: readonly Uint8Array[], bytes: number): Uint8Array[] {
	let left = bytes;
	const rest: Uint8Array[] = [];
	for (const chunk of list) {
		if (left < chunk.length) rest.push(left === 0 ? chunk : chunk.subarray(left));
		left = Math.max(0, left - chunk.length);
	}
	return rest;
}
