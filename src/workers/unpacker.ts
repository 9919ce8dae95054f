import type { WhiteoutForm } from "../diff/apply/whiteout.ts";
import type { GrowingBlob } from "./growing-blob.ts";

/** Where a layer's bytes come from. */
export type LayerSource =
	/** A whole blob on disk. */
	| { readonly blobPath: string }
	/**
	 * A file that is still being written (an ingest's), so that download and extraction overlap and no byte is copied
	 * between threads: the writer tells how far it is with growing-blob.ts.
	 */
	| { readonly growing: GrowingBlob };

export interface UnpackRequest {
	readonly source: LayerSource;
	/** The blob's media type; what decides is its first bytes, the type only tells what may not be a layer at all. */
	readonly mediaType: string;
	/** An existing directory that the layer is extracted into (a snapshot's upper directory). */
	readonly targetDir: string;
	/** `sha256:<hex>` of the uncompressed tar; a mismatch fails the job with DataLoss after extraction. */
	readonly expectedDiffId?: string;
	/** `sha256:<hex>` of the blob as stored; given, it is computed in the same pass and checked. */
	readonly expectedBlobDigest?: string;
	/** How deletions are written; `overlay` by default. */
	readonly whiteouts?: WhiteoutForm;
	/** Writes everything of the file system to disk before the job ends (syncfs). Off by default, as in containerd. */
	readonly sync?: boolean;
}

export interface UnpackProgress {
	/** Bytes of the uncompressed tar so far. */
	readonly bytes: number;
	/** Entries made so far. */
	readonly entries: number;
}

export interface Unpacked {
	/** `sha256:<hex>` of the uncompressed tar. */
	readonly diffId: string;
	/** Bytes of the uncompressed tar. */
	readonly size: number;
	/** Entries made: files, directories, links, nodes, whiteouts. */
	readonly entries: number;
	/** What the layer uses on disk, for the snapshot's commit; undefined if it must be counted again. */
	readonly usage: { readonly size: bigint; readonly inodes: bigint } | undefined;
	/**
	 * Directories, relative to the target, that hold entries but have none themselves. In the merged tree they must look
	 * as in the layers below: the snapshot's commit copies owner, mode, times and attributes from there.
	 */
	readonly impliedDirectories: readonly Uint8Array[];
	/** Extended attributes that the file system does not take, and devices that a user namespace may not make. */
	readonly skippedAttributes: number;
	readonly skippedDevices: number;
}

/**
 * Extracts layers in worker threads. A failed job rejects with a DaemonError: InvalidArgument (not a tar, not a
 * compression we know, a name that leaves the root), DataLoss (cut short, digest mismatch), ResourceExhausted (disk
 * full, limits), Canceled. What the job wrote until then stays in the target directory: remove the snapshot.
 */
export interface Unpacker {
	unpack(
		request: UnpackRequest,
		options?: { readonly onProgress?: (progress: UnpackProgress) => void; readonly signal?: AbortSignal },
	): Promise<Unpacked>;
}
