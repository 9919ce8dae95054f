import type { Digest } from "./digest.ts";

/**
 * Blobs by digest, and the ingests that become blobs. An ingest has a ref chosen by the caller; it is opened by at most
 * one writer at a time, survives a crash or a closed writer, and goes on where it stopped when the ref is opened again.
 * A commit checks size and digest, makes the bytes durable, and turns the ingest into a blob in one rename. Blobs never
 * change. Refs, blobs and sizes are global here: namespaces, labels, leases and events belong to src/metadata.
 *
 * `content-store.test-suite.ts` is the contract that every implementation must pass.
 */
export interface ContentStore {
	/**
	 * Opens the ingest of `ref`, new or as it was left.
	 * Errors: AlreadyExists if `expected` is a blob already; Unavailable if another writer holds the ref;
	 * InvalidArgument for an empty ref, a bad digest, or a `total` other than the one the ingest was started with.
	 */
	writer(ref: string, options?: WriterOptions): Promise<ContentWriter>;

	/** Errors: NotFound. */
	info(digest: Digest): Promise<BlobInfo>;

	/**
	 * The bytes of a blob from `offset`, at most `length`, in chunks of at most 1 MiB; each chunk belongs to the caller.
	 * Errors, by the first chunk: NotFound; OutOfRange if `offset` is beyond the blob's end.
	 */
	read(digest: Digest, range?: ByteRange): AsyncIterable<Uint8Array>;

	/** The whole blob. Errors: NotFound; ResourceExhausted if it is larger than `limit` bytes. */
	readAll(digest: Digest, limit: number): Promise<Uint8Array>;

	/** Where the blob's bytes are, for workers that read it themselves. Does not look whether it is there. */
	path(digest: Digest): string;

	/** Errors: NotFound. An open reader reads on to its end. */
	delete(digest: Digest): Promise<void>;

	/** All blobs, in no order. A blob deleted meanwhile may be missing. */
	walk(): AsyncIterable<BlobInfo>;

	/** Errors: NotFound. */
	status(ref: string): Promise<IngestStatus>;

	/** All ingests, in no order. */
	statuses(): Promise<readonly IngestStatus[]>;

	/** Forgets an ingest and its bytes. Errors: NotFound; Unavailable while a writer holds it. */
	abort(ref: string): Promise<void>;
}

export interface ByteRange {
	/** Bytes; default 0. */
	readonly offset?: number;
	/** Bytes; default: to the end. */
	readonly length?: number;
}

export interface WriterOptions {
	/** Size of the blob to come, in bytes; 0 or absent: unknown. */
	readonly total?: number;
	/** Digest of the blob to come; its algorithm is the one the writer computes (default sha256). */
	readonly expected?: Digest;
	/** Ends a resume that is still reading what the ingest holds. */
	readonly signal?: AbortSignal;
}

/** The only way to change an ingest. Calls are made one after the other; each awaits the one before. */
export interface ContentWriter {
	readonly ref: string;
	/** Bytes written so far. */
	readonly offset: number;
	/** Where the ingest's bytes are: a reader of the same machine may follow them while they arrive. */
	readonly path: string;
	status(): IngestStatus;
	/** Digest of the bytes written so far. */
	digest(): Digest;
	/**
	 * Appends. The chunks may be used again when the promise resolves. Errors: ResourceExhausted for a full disk; the
	 * ingest is then gone and the writer closed.
	 */
	write(chunks: Uint8Array | readonly Uint8Array[]): Promise<void>;
	/** Throws away what lies behind `size` bytes. Errors: OutOfRange if `size` is larger than the offset. */
	truncate(size: number): Promise<void>;
	/**
	 * Makes the ingest a blob. `size` (if given and not 0) and `expected` (if given) must be what was written.
	 * Errors: FailedPrecondition for a wrong size or digest (the writer is closed, the ingest stays); AlreadyExists if the
	 * blob was there before (the ingest is gone). In each case the writer is closed.
	 */
	commit(options?: CommitOptions): Promise<BlobInfo>;
	/** Gives the ref free; what was written stays. Closing twice is no error. */
	close(): Promise<void>;
	/** Closes, and forgets the ingest. */
	discard(): Promise<void>;
}

export interface CommitOptions {
	readonly size?: number;
	readonly expected?: Digest;
}

export interface BlobInfo {
	readonly digest: Digest;
	/** Bytes. */
	readonly size: number;
	readonly createdAt: Date;
	readonly updatedAt: Date;
}

export interface IngestStatus {
	readonly ref: string;
	/** Bytes written so far. */
	readonly offset: number;
	/** Bytes; 0 for unknown. */
	readonly total: number;
	readonly expected?: Digest;
	readonly startedAt: Date;
	readonly updatedAt: Date;
}
