import { DaemonError } from "../../src/errors/daemon-error.ts";
import { contentLabels } from "./content-labels.ts";
import type { DownloadSlots } from "./download-slots.ts";
import type { ImageRepository, LayerPlan } from "./image-repository.ts";
import type { BlobIngest, Labels, NamespaceStorage } from "./image-storage.ts";

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

/** Another try may bring the right ones. */
class WrongBytes extends DaemonError {}

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
		const blamed = this.#avoid.size;
		if (ingest.offset > layer.size) await ingest.truncate(0);
		// What an earlier try or another process has left may be wrong without this host's fault.
		const isFresh = ingest.offset === 0;
		try {
			await follower.opened(ingest);
			report(ingest.offset);
			const host = ingest.offset < layer.size ? await this.#download(ingest, signal, follower, report) : undefined;
			follower.arrived(layer.size);
			const labels = { [contentLabels.source(registry)]: name };
			await this.#commit(ingest, labels, isFresh ? host : undefined);
		} catch (reason) {
			await ingest.close(); // what arrived stays, for the next try
			const isWrong = reason === this.#wrong || (reason instanceof WrongBytes && reason.cause === this.#wrong);
			if (isWrong || this.#avoid.size > blamed) await this.#forget(follower);
			throw reason;
		}
	}

	/** Bytes that are not those that were asked for may still come from another host, or from a new start. */
	async #commit(ingest: BlobIngest, labels: Labels, host: string | undefined): Promise<void> {
		const { size, digest } = this.#parts.layer;
		try {
			await ingest.commit({ size, expected: digest, labels });
		} catch (reason) {
			if (!(reason instanceof DaemonError) || reason.code !== "FailedPrecondition") throw reason;
			if (host !== undefined) this.#avoid.add(host);
			this.#wrong = reason;
			throw new WrongBytes("DataLoss", reason.object, reason.problem, { cause: reason });
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
			if (!(reason instanceof DaemonError)) throw reason;
			// Nobody is left but those who sent wrong bytes: that is what there is to tell.
			if (this.#wrong !== undefined && reason.code === "NotFound") throw this.#wrong;
			if (reason.code === "DataLoss")
				this.#wrong = new DaemonError("FailedPrecondition", reason.object, reason.problem, { cause: reason });
			throw reason;
		}
	}

	async #forget(follower: Follower): Promise<void> {
		await follower.spoiled();
		await this.#parts.storage.abortIngest(layerRef(this.#parts.layer.digest));
	}
}
