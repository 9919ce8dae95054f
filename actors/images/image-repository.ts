import type { Descriptor } from "../../src/content/descriptor.ts";
import type { Digest } from "../../src/content/digest.ts";
import type { NamespaceStorage } from "./image-storage.ts";

/** A layer of an image that is being pulled. */
export interface LayerPlan extends Descriptor {
	/** Digest of the uncompressed tar; empty if the image's config does not say. */
	readonly diffId: Digest;
	/** Name of its snapshot; empty like `diffId`. */
	readonly chainId: Digest;
	/** Name of the snapshot below; empty for the lowest layer. */
	readonly parentChainId: string;
}

/** What a reference turned out to be. */
export interface ImagePlan {
	readonly config: Digest;
	readonly layers: readonly LayerPlan[];
}

/**
 * Where an image comes from: one repository of a registry, with one caller's credentials. Implemented in src/images. It has
 * no end of its own: a download may outlive the pull that began it, and idle connections close by themselves.
 */
export interface ImageRepository {
	/** For the label that says where a blob came from. */
	readonly source: { readonly registry: string; readonly repository: string };
	/** What the reference names now. */
	resolve(signal: AbortSignal): Promise<Descriptor>;
	/** Brings index, manifest and config into the store, with their labels, and reads them. */
	plan(target: Descriptor, storage: NamespaceStorage, signal: AbortSignal): Promise<ImagePlan>;
	/** Brings what the sink lacks of a blob, by one request; answers the host that sent it. Bytes are not verified. */
	download(blob: Descriptor, sink: BlobSink, options: DownloadOptions): Promise<string>;
}

/** Where a blob's bytes go. */
export interface BlobSink {
	/** Bytes that are there already. */
	readonly offset: number;
	write(chunks: readonly Uint8Array[]): Promise<void>;
}

export interface DownloadOptions {
	readonly signal: AbortSignal;
	/** Hosts that sent wrong bytes before. One that sends more than was announced is added. */
	readonly avoid?: Set<string>;
	/** Called with the sink's offset after each write. */
	readonly onBytes?: (offset: number) => void;
}
