import { contentLabels, withSource } from "../../actors/images/content-labels.ts";
import type {
	BlobSink,
	DownloadOptions,
	ImagePlan,
	ImageRepository,
	LayerPlan,
} from "../../actors/images/image-repository.ts";
import type { Labels, NamespaceStorage } from "../../actors/images/image-storage.ts";
import type { Clock } from "../../actors/kernel/clock.ts";
import type { Descriptor, Platform } from "../content/descriptor.ts";
import { type Digest, digestOf, parseDigest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { downloadBlob } from "./blob-download.ts";
import { childLabels } from "./gc-labels.ts";
import { largestConfig, largestManifest } from "./image-limits.ts";
import { chainIds, type ImageManifest, parseDiffIds, parseManifest } from "./manifest.ts";
import { ingestPrefix, isConfig } from "./media-types.ts";
import { formatPlatform, pickPlatform } from "./platform.ts";
import { sleep } from "./registry/retry.ts";
import type { RegistryClient } from "./registry-client.ts";

export interface RegistryRepositoryParts {
	readonly client: RegistryClient;
	readonly platform: Platform;
	readonly clock: Clock;
	/** No byte for this long is a broken download, in milliseconds. */
	readonly stallMs: number;
}

/** Indexes within indexes that are followed. */
const deepestIndex = 4;
/** A manifest or config is asked for so often before the pull fails. */
const smallTries = 3;
const smallBackoffMs = 500;

/** One image repository behind a {@link RegistryClient}. */
export class RegistryRepository implements ImageRepository {
	readonly #parts: RegistryRepositoryParts;
	/** Manifests that came along with the resolution. */
	readonly #known = new Map<Digest, Uint8Array>();

	constructor(parts: RegistryRepositoryParts) {
		this.#parts = parts;
	}

	get source(): { readonly registry: string; readonly repository: string } {
		return this.#parts.client.source;
	}

	async resolve(signal: AbortSignal): Promise<Descriptor> {
		const { descriptor, content } = await this.#parts.client.resolve(signal);
		if (content !== undefined) this.#known.set(descriptor.digest, content);
		return descriptor;
	}

	/** Parents are stored after their labels are known, and before their children: a lease keeps all of them meanwhile. */
	async plan(target: Descriptor, storage: NamespaceStorage, signal: AbortSignal): Promise<ImagePlan> {
		const { config, layers } = await this.#manifest(target, storage, signal);
		const bytes = await this.#small(config, largestConfig, () => ({}), storage, signal);
		const diffIds = isConfig(config.mediaType) ? parseDiffIds(config, bytes) : [];
		const matching = diffIds.length === layers.length ? diffIds : [];
		const chain = chainIds(matching);
		return {
			config: config.digest,
			layers: layers.map(
				(layer, index): LayerPlan => ({
					...layer,
					diffId: matching[index] ?? "",
					chainId: chain[index] ?? "",
					parentChainId: chain[index - 1] ?? "",
				}),
			),
		};
	}

	download(blob: Descriptor, sink: BlobSink, options: DownloadOptions): Promise<string> {
		const { client, clock, stallMs } = this.#parts;
		return downloadBlob(client, blob, sink, { ...options, clock, stallMs });
	}

	/** The manifest for the platform, through indexes. */
	async #manifest(target: Descriptor, storage: NamespaceStorage, signal: AbortSignal): Promise<ImageManifest> {
		const { platform } = this.#parts;
		let descriptor = target;
		for (let depth = 0; depth < deepestIndex; depth++) {
			const labels = (bytes: Uint8Array): Labels => {
				const parsed = parseManifest(descriptor, bytes);
				return childLabels(
					"index" in parsed ? parsed.index.manifests : [parsed.manifest.config, ...parsed.manifest.layers],
				);
			};
			const parsed = parseManifest(descriptor, await this.#small(descriptor, largestManifest, labels, storage, signal));
			if ("manifest" in parsed) return parsed.manifest;
			const picked = pickPlatform(parsed.index.manifests, platform);
			if (picked === undefined) {
				const problem = `has no manifest for ${formatPlatform(platform)}`;
				throw new DaemonError("NotFound", { kind: "image", id: target.digest }, problem);
			}
			descriptor = picked;
		}
		throw new DaemonError("InvalidArgument", { kind: "image", id: target.digest }, "its indexes are nested too deep");
	}

	/** The bytes of a manifest or config, from the store or the registry; afterwards it is in the store, with its labels. */
	async #small(
		descriptor: Descriptor,
		limit: number,
		labelsOf: (bytes: Uint8Array) => Labels,
		storage: NamespaceStorage,
		signal: AbortSignal,
	): Promise<Uint8Array> {
		const { digest, mediaType, size } = descriptor;
		const object = { kind: "content", id: digest };
		if (size > limit) throw new DaemonError("ResourceExhausted", object, `${size} bytes, the limit is ${limit}`);
		const { registry, repository } = this.source;
		const source = contentLabels.source(registry);
		const held = await storage.blob(digest);
		if (held !== undefined) {
			const bytes = await storage.readBlob(digest, limit);
			const labels = { ...labelsOf(bytes), [source]: withSource(source, held.labels[source], repository) };
			await storage.labelBlob(
				digest,
				Object.fromEntries(Object.entries(labels).filter(([k, v]) => held.labels[k] !== v)),
			);
			return bytes;
		}
		const bytes = this.#known.get(digest) ?? (await this.#fetch(descriptor, signal));
		const labels = { ...labelsOf(bytes), [source]: repository };
		const ref = `${ingestPrefix(mediaType)}-${digest}`;
		await put(storage, ref, { digest, size: bytes.length }, bytes, labels, signal);
		return bytes;
	}

	async #fetch(descriptor: Descriptor, signal: AbortSignal): Promise<Uint8Array> {
		const avoid = new Set<string>();
		const sink = new MemorySink();
		let wrong: DaemonError | undefined;
		for (let tries = 1; ; tries++) {
			const blamed = avoid.size;
			try {
				const host = await this.download(descriptor, sink, { signal, avoid });
				const bytes = sink.bytes();
				const found = digestOf(bytes, parseDigest(descriptor.digest).algorithm);
				if (found === descriptor.digest) return bytes;
				avoid.add(host);
				throw new DaemonError("DataLoss", { kind: "content", id: descriptor.digest }, `${host} sent ${found} instead`);
			} catch (reason) {
				if (!(reason instanceof DaemonError)) throw reason;
				// Nobody is left but those who sent wrong bytes: that is what there is to tell.
				if (reason.code === "NotFound" && wrong !== undefined) throw wrong;
				const mayHelp = ["Unavailable", "DataLoss", "DeadlineExceeded"].includes(reason.code);
				if (!mayHelp || tries === smallTries) throw reason;
				if (avoid.size > blamed) {
					wrong = reason;
					sink.clear();
					continue;
				}
				// The client has asked all hosts and waited already where a server was busy; this is for broken answers.
				await sleep(this.#parts.clock, smallBackoffMs * 2 ** (tries - 1), signal);
			}
		}
	}
}

class MemorySink implements BlobSink {
	#chunks: Uint8Array[] = [];
	offset = 0;

	async write(chunks: readonly Uint8Array[]): Promise<void> {
		this.#chunks.push(...chunks);
		for (const { length } of chunks) this.offset += length;
	}

	bytes(): Uint8Array {
		return Buffer.concat(this.#chunks);
	}

	clear(): void {
		this.#chunks = [];
		this.offset = 0;
	}
}

/** Stores a small blob. That somebody else stores the same one meanwhile is no error, but its labels must be there. */
async function put(
	storage: NamespaceStorage,
	ref: string,
	{ digest, size }: { readonly digest: Digest; readonly size: number },
	bytes: Uint8Array,
	labels: Labels,
	signal: AbortSignal,
): Promise<void> {
	try {
		const ingest = await storage.ingest(ref, { digest, size }, signal);
		try {
			if (ingest.offset !== size) {
				await ingest.truncate(0);
				await ingest.write(bytes);
			}
			await ingest.commit({ size, expected: digest, labels });
		} catch (reason) {
			await ingest.discard();
			throw reason;
		}
	} catch (reason) {
		if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists") throw reason;
		await storage.labelBlob(digest, labels);
	}
}
