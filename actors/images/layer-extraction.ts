import { randomBytes } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { type GrowingBlobWriter, growingBlob } from "../../src/workers/growing-blob.ts";
import type { LayerSource, Unpacked, Unpacker } from "../../src/workers/unpacker.ts";
import { labelsOf } from "./extractions.ts";
import type { LayerPlan } from "./image-repository.ts";
import type { NamespaceStorage } from "./image-storage.ts";

export type ExtractionOutcome =
	| { readonly ok: true; readonly key: string; readonly unpacked: Unpacked }
	/** The chain exists already: somebody else was faster. */
	| { readonly ok: true; readonly key?: undefined }
	| { readonly ok: false; readonly error: DaemonError };

/**
 * The extraction of one layer into a snapshot of its own, from a whole blob or from an ingest that still grows. Its
 * outcome never rejects; a failed or cancelled one leaves no snapshot behind.
 */
export class LayerExtraction {
	readonly outcome: Promise<ExtractionOutcome>;
	/** For a growing source. */
	readonly growth: GrowingBlobWriter | undefined;
	readonly #abort = new AbortController();

	private constructor(
		layer: LayerPlan,
		storage: NamespaceStorage,
		unpacker: Unpacker,
		source: LayerSource,
		growth?: GrowingBlobWriter,
		handle?: FileHandle,
	) {
		this.growth = growth;
		this.outcome = this.#run(layer, storage, unpacker, source).finally(() => handle?.close());
	}

	static ofBlob(layer: LayerPlan, storage: NamespaceStorage, unpacker: Unpacker): LayerExtraction {
		return new LayerExtraction(layer, storage, unpacker, { blobPath: storage.blobPath(layer.digest) });
	}

	/**
	 * Follows an ingest. The worker gets the file by our descriptor, since the commit moves it: `/proc/self/fd/N` of a
	 * thread is that of its process.
	 */
	static async ofIngest(
		layer: LayerPlan,
		storage: NamespaceStorage,
		unpacker: Unpacker,
		ingest: { readonly path: string; readonly offset: number },
	): Promise<LayerExtraction> {
		const handle = await open(ingest.path, "r");
		const growth = growingBlob(`/proc/self/fd/${handle.fd}`, ingest.offset);
		return new LayerExtraction(layer, storage, unpacker, { growing: growth.blob }, growth, handle);
	}

	/** Ends it; what it made is gone when the promise resolves. A finished one stays finished. */
	async cancel(): Promise<void> {
		this.growth?.fail();
		this.#abort.abort();
		await this.outcome;
	}

	async #run(
		layer: LayerPlan,
		storage: NamespaceStorage,
		unpacker: Unpacker,
		source: LayerSource,
	): Promise<ExtractionOutcome> {
		const { signal } = this.#abort;
		const parent = storage.rebase ? "" : layer.parentChainId;
		// containerd's form of the key; the space in it is meant.
		const key = `extract-${process.hrtime.bigint()}-${randomBytes(3).toString("base64url")} ${layer.chainId}`;
		try {
			const target = await storage.prepareExtraction(key, parent, labelsOf(layer));
			// An image's first layer has nothing to hide.
			const whiteouts = layer.parentChainId === "" ? "dropped" : target.whiteouts;
			const request = { source, mediaType: layer.mediaType, targetDir: target.targetDir, whiteouts } as const;
			const unpacked = await unpacker.unpack(request, { signal });
			signal.throwIfAborted();
			return { ok: true, key, unpacked };
		} catch (reason) {
			const error = DaemonError.from(reason, { kind: "layer", id: layer.digest });
			if (error.code === "AlreadyExists") return { ok: true };
			return { ok: false, error: await withoutSnapshot(storage, key, error) };
		}
	}
}

/** The first error is the one to tell, also if removing fails as well. */
async function withoutSnapshot(storage: NamespaceStorage, key: string, error: DaemonError): Promise<DaemonError> {
	try {
		await storage.removeExtraction(key);
		return error;
	} catch (reason) {
		const problem = `${error.problem}; its snapshot could not be removed: ${String(reason)}`;
		return new DaemonError(error.code, error.object, problem, { cause: error });
	}
}
