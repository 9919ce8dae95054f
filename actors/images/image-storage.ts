import type { Descriptor } from "../../src/content/descriptor.ts";
import type { Digest } from "../../src/content/digest.ts";
import type { Image } from "../../src/metadata/images.ts";
import type { ExtractionTarget } from "../../src/snapshots/extraction-target.ts";
import type { CommitOptions } from "../../src/snapshots/snapshotter.ts";

/** What the daemon keeps of images, as pulls see it. Errors are DaemonErrors in the words of the stores below. */
export interface ImageStorage {
	/** A lease that keeps everything stored under it until it is released (containerd: 24 h at most). */
	lease(namespace: string): Promise<ImageLease>;
	/** A namespace's content, snapshots and images; what is stored or found there is kept by the lease. */
	open(namespace: string, snapshotter: string, lease: string): NamespaceStorage;
}

export interface ImageLease {
	readonly id: string;
	release(): Promise<void>;
}

export type Labels = Readonly<Record<string, string>>;

export interface NamespaceStorage {
	/** The blob's labels, if the namespace has it. */
	blob(digest: Digest): Promise<{ readonly labels: Labels } | undefined>;
	/** Errors: NotFound; ResourceExhausted above `limit` bytes. */
	readBlob(digest: Digest, limit: number): Promise<Uint8Array>;
	/** Where the blob's bytes are. */
	blobPath(digest: Digest): string;
	/** Sets labels, leaves others. Errors: NotFound. */
	labelBlob(digest: Digest, labels: Labels): Promise<void>;
	/** Opens an ingest, new or as it was left. Errors: AlreadyExists (the namespace has the blob), Unavailable (in use). */
	ingest(ref: string, descriptor: Pick<Descriptor, "digest" | "size">, signal: AbortSignal): Promise<BlobIngest>;
	/** Bytes of an ingest; 0 if there is none. */
	ingestOffset(ref: string): Promise<number>;
	/** Forgets an ingest; none is no error. */
	abortIngest(ref: string): Promise<void>;

	/** Whether the snapshotter can extract a layer before the layers below it are there. */
	readonly rebase: boolean;
	hasSnapshot(name: string): Promise<boolean>;
	/** Makes room to extract a layer. Errors: AlreadyExists if the name in the label `snapshot.ref` exists. */
	prepareExtraction(key: string, parent: string, labels: Labels): Promise<ExtractionTarget>;
	/** Errors: AlreadyExists, NotFound (the parent). */
	commitExtraction(name: string, key: string, parent: string, labels: Labels, filled: FilledSnapshot): Promise<void>;
	/** Gives up an extraction; none is no error. */
	removeExtraction(key: string): Promise<void>;

	/** Creates the image or moves it to a new target; answers its record. */
	recordImage(name: string, target: Descriptor): Promise<Image>;
}

/** An open ingest, as src/content's writer, with labels for the blob to come. */
export interface BlobIngest {
	readonly offset: number;
	readonly path: string;
	write(chunks: Uint8Array | readonly Uint8Array[]): Promise<void>;
	truncate(size: number): Promise<void>;
	/** Errors: FailedPrecondition (wrong size or digest; the ingest stays), AlreadyExists. */
	commit(options: { readonly size: number; readonly expected: Digest; readonly labels: Labels }): Promise<void>;
	close(): Promise<void>;
	discard(): Promise<void>;
}

/** What whoever filled a snapshot knows of it. */
export type FilledSnapshot = Pick<CommitOptions, "usage" | "impliedDirectories">;
