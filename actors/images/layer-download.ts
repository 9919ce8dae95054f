import { DaemonError } from "../../src/errors/daemon-error.ts";
import { contentLabels } from "./content-labels.ts";
import type { DownloadSlots } from "./download-slots.ts";
import type { ImageRepository, LayerPlan } from "./image-repository.ts";
import type { BlobIngest, NamespaceStorage } from "./image-storage.ts";

/** Whoever reads along while the bytes arrive. */
export interface Follower {
	/** The ingest is open; bytes up to its offset are there. */
	opened(ingest: BlobIngest): Promise<void>;
	advance(offset: number): void;
	/** All bytes have arrived; they are not verified yet. */
	arrived(size: number): void;
	/** What arrived was wrong and is thrown away. */
	spoiled(): Promise<void>;
}

export interface LayerDownloadParts {
	readonly layer: LayerPlan;
	readonly storage: NamespaceStorage;
	readonly repository: ImageRepository;
	readonly slots: DownloadSlots;
	/** Whose turn a slot is. */
	readonly owner: string;
}

/** The ingest that a layer's bytes go to; clients know the form (remotes/handlers.go, MakeRefKey). */
export const layerRef = (digest: string): string => `layer-${digest}`;

/** Brings one layer's blob into the content store. */
export class LayerDownload {
	readonly #parts: LayerDownloadParts;
	/** Hosts that sent wrong bytes. */
	readonly #avoid = new Set<string>();
	#wrong: DaemonError | undefined;

	constructor(parts: LayerDownloadParts) {
		this.#parts = parts;
	}

	/** Whether a new request may do better than the one that failed with this error. */
	mayHelp({ code }: DaemonError): boolean {
		return code === "Unavailable" || code === "DataLoss" || code === "DeadlineExceeded" || code === "Aborted";
	}

	/** One try, from where the last one ended. The follower hears of this try only. */
	async run(signal: AbortSignal, follower: Follower, report: (offset: number) => void): Promise<void> {
		const { layer, storage, slots, owner } = this.#parts;
		if ((await storage.blob(layer.digest)) !== undefined) return;
		const giveBack = await slots.acquire(owner, signal);
		try {
			const ingest = await storage.ingest(layerRef(layer.digest), layer, signal);
			await this.#fill(ingest, signal, follower, report);
		} catch (reason) {
			if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists") throw reason;
		} finally {
			giveBack();
		}
	}

	async #fill(
		ingest: BlobIngest,
		signal: AbortSignal,
		follower: Follower,
		report: (offset: number) => void,
	): Promise<void> {
		const { layer, repository } = this.#parts;
		const { registry, repository: name } = repository.source;
		let host: string | undefined;
		try {
			if (ingest.offset > layer.size) await ingest.truncate(0);
			await follower.opened(ingest);
			report(ingest.offset);
			if (ingest.offset < layer.size) host = await this.#download(ingest, signal, follower, report);
			follower.arrived(layer.size);
			const labels = { [contentLabels.source(registry)]: name };
			await ingest.commit({ size: layer.size, expected: layer.digest, labels });
		} catch (reason) {
			if (reason === this.#wrong) {
				await ingest.discard(); // nobody else can be asked
				throw reason;
			}
			if (reason instanceof DaemonError && reason.code === "FailedPrecondition")
				throw await this.#spoil(reason, host, follower);
			await ingest.close(); // what arrived stays, for the next try
			throw reason;
		}
	}

	async #download(
		ingest: BlobIngest,
		signal: AbortSignal,
		follower: Follower,
		report: (offset: number) => void,
	): Promise<string> {
		const { layer, repository } = this.#parts;
		const onBytes = (offset: number): void => {
			follower.advance(offset);
			report(offset);
		};
		try {
			return await repository.download(layer, ingest, { signal, avoid: this.#avoid, onBytes });
		} catch (reason) {
			// Nobody is left but those who sent wrong bytes: that is what there is to tell.
			if (this.#wrong !== undefined && reason instanceof DaemonError && reason.code === "NotFound") throw this.#wrong;
			throw reason;
		}
	}

	/** The bytes are not those that were asked for. They may come from another host, or from an older broken ingest. */
	async #spoil(reason: DaemonError, host: string | undefined, follower: Follower): Promise<DaemonError> {
		const { layer, storage } = this.#parts;
		await follower.spoiled();
		await storage.abortIngest(layerRef(layer.digest));
		if (host !== undefined) this.#avoid.add(host);
		this.#wrong = reason;
		return new DaemonError("DataLoss", reason.object, reason.problem, { cause: reason });
	}
}
