import type { LayerFact } from "../../machines/layer.machine.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { Unpacker } from "../../src/workers/unpacker.ts";
import type { Clock } from "../kernel/clock.ts";
import { contentLabels } from "./content-labels.ts";
import type { Extractions } from "./extractions.ts";
import { type Follower, LayerDownload, type LayerDownloadParts, layerRef } from "./layer-download.ts";
import { LayerExtraction } from "./layer-extraction.ts";
import type { LayerProgress } from "./layer-progress.ts";
import type { LeaseShare } from "./pull-leases.ts";
import type { SharedWork } from "./shared-work.ts";

export interface LayerWorkParts extends LayerDownloadParts {
	/** Names namespace, snapshotter and chain; for a layer that is only fetched, namespace and digest. */
	readonly key: string;
	readonly namespace: string;
	readonly unpack: boolean;
	readonly lease: LeaseShare;
	readonly downloads: SharedWork;
	readonly extractions: Extractions;
	readonly unpacker: Unpacker;
	/** How many extractions may follow a download; each holds a worker as long as the network takes. */
	readonly following: { free: number };
	readonly clock: Clock;
	readonly progress: LayerProgress;
}

type Send = (fact: LayerFact) => void;

/** Layers smaller than this are extracted when they are whole. Bytes. */
const smallestFollowed = 4 << 20;
/** How often a download's progress is told to the machine, and a waiting one says that it waits. Milliseconds. */
const tellMs = 1_000;
const waitingTellMs = 15_000;

/** What the actor of one layer does; each method answers by facts. */
export class LayerWork {
	readonly #parts: LayerWorkParts;
	readonly #download: LayerDownload;
	#fetching: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
	#extraction: LayerExtraction | undefined;
	#follows = false;
	#handedOver = false;
	#begun = false;
	readonly #abort = new AbortController();

	constructor(parts: LayerWorkParts) {
		this.#parts = parts;
		this.#download = new LayerDownload(parts);
	}

	/** Whether the actor has taken its first request. */
	get begun(): boolean {
		return this.#begun;
	}

	get progress(): LayerProgress {
		return this.#parts.progress;
	}

	look(send: Send): void {
		this.#begun = true;
		const { layer, storage, unpack } = this.#parts;
		const find = async (): Promise<LayerFact> => {
			if (unpack && (await storage.hasSnapshot(layer.chainId))) return { type: "layer.present" };
			if ((await storage.blob(layer.digest)) !== undefined) return { type: "blob.present" };
			return { type: "blob.missing", offset: Math.min(layer.size, await storage.ingestOffset(layerRef(layer.digest))) };
		};
		find().then(send, (reason: unknown) => send({ type: "unpack.failed", ...refusalOf(reason) }));
	}

	fetch(send: Send): void {
		const { layer, namespace, downloads, clock, progress } = this.#parts;
		const abort = new AbortController();
		const signal = AbortSignal.any([abort.signal, this.#abort.signal]);
		let offset = progress.state.offset;
		let toldAt = clock.monotonic();
		const tell = (): void => {
			toldAt = clock.monotonic();
			send({ type: "bytes.arrived", offset });
		};
		const onBytes = (bytes: number): void => {
			offset = bytes;
			progress.set("downloading", bytes);
			stopWaiting();
			if (clock.monotonic() - toldAt >= tellMs) tell();
		};
		// Until the first byte of a try it waits for its turn, which is no stall; bounded by the layers before it.
		let stopWaiting = (): void => undefined;
		const wait = (): void => {
			stopWaiting = clock.after(waitingTellMs, () => {
				tell();
				wait();
			});
		};
		wait();
		const follower = this.#follower(send);
		const done = downloads
			.run(
				`${namespace}/${layer.digest}`,
				(shared, report) => this.#download.run(shared, follower, report),
				signal,
				onBytes,
			)
			.then(
				() => send({ type: "blob.committed" }),
				(reason: unknown) => {
					const error = DaemonError.from(reason, { kind: "layer", id: layer.digest });
					// A download that was given up because it stalled is worth another try.
					const stalled = abort.signal.aborted && !this.#abort.signal.aborted;
					const refusal = stalled ? { code: "DeadlineExceeded", problem: "the download stalled" } : refusalOf(error);
					send({ type: "fetch.broke", offset, retry: stalled || this.#download.mayHelp(error), ...refusal });
				},
			)
			.finally(() => stopWaiting());
		this.#fetching = { abort, done };
	}

	abandon(): void {
		this.#fetching?.abort.abort();
	}

	unpack(send: Send): void {
		const { layer, progress } = this.#parts;
		progress.set("extracting", layer.size);
		this.#extract().then(send, (reason: unknown) => send({ type: "unpack.failed", ...refusalOf(reason) }));
	}

	stop(send: Send): void {
		void this.dispose().then(() => send({ type: "work.stopped" }));
	}

	/** Ends what runs and removes what nobody will take. Repeatable; never rejects. */
	async dispose(): Promise<void> {
		this.#abort.abort();
		await this.#fetching?.done;
		const extraction = this.#extraction;
		this.#extraction = undefined;
		await this.#drop(extraction).catch(() => undefined); // its lease ends: the collector removes what is left
		if (!this.#handedOver) await this.#parts.lease.release().catch(() => undefined);
	}

	async #extract(): Promise<LayerFact> {
		const { layer, storage, key, extractions, unpacker, progress } = this.#parts;
		if (!storage.rebase && layer.parentChainId !== "") {
			const parentKey = key.replace(layer.chainId, layer.parentChainId);
			await extractions.committed(parentKey, layer.parentChainId, storage, this.#abort.signal);
		}
		if (this.#abort.signal.aborted) throw new DaemonError("Canceled", { kind: "layer", id: layer.digest }, "cancelled");
		this.#extraction ??= LayerExtraction.ofBlob(layer, storage, unpacker);
		const outcome = await this.#extraction.outcome;
		if (!outcome.ok) throw outcome.error;
		if (outcome.key === undefined) return { type: "layer.unpacked", diffId: layer.diffId };
		const { diffId, usage, impliedDirectories } = outcome.unpacked;
		if (diffId !== layer.diffId) return { type: "layer.unpacked", diffId };
		await storage.labelBlob(layer.digest, { [contentLabels.uncompressed]: diffId });
		if (!this.#abort.signal.aborted) {
			this.#extraction = undefined;
			this.#handedOver = true;
			await extractions.put(key, {
				key: outcome.key,
				filled: { usage, impliedDirectories },
				storage,
				lease: this.#parts.lease,
			});
			progress.set("done");
		}
		return { type: "layer.unpacked", diffId };
	}

	/** Extracts beside the download, where that pays and a worker may be held. */
	#follower(send: Send): Follower {
		const { layer, storage, unpack, unpacker, following } = this.#parts;
		return {
			opened: async (ingest) => {
				if (this.#extraction !== undefined) {
					this.#extraction.growth?.advance(ingest.offset);
					return;
				}
				if (!unpack || !storage.rebase || layer.size < smallestFollowed || following.free === 0) return;
				following.free--;
				this.#follows = true;
				const extraction = await LayerExtraction.ofIngest(layer, storage, unpacker, ingest).catch((reason: unknown) => {
					this.#stopFollowing();
					throw reason;
				});
				this.#extraction = extraction;
				void extraction.outcome.then((outcome) => {
					this.#stopFollowing();
					if (!outcome.ok && this.#extraction === extraction && !this.#abort.signal.aborted)
						send({ type: "unpack.failed", ...refusalOf(outcome.error) });
				});
			},
			advance: (offset) => this.#extraction?.growth?.advance(offset),
			arrived: (size) => this.#extraction?.growth?.complete(size),
			spoiled: async () => {
				const extraction = this.#extraction;
				this.#extraction = undefined;
				await this.#drop(extraction);
			},
		};
	}

	#stopFollowing(): void {
		if (!this.#follows) return;
		this.#follows = false;
		this.#parts.following.free++;
	}

	async #drop(extraction: LayerExtraction | undefined): Promise<void> {
		if (extraction === undefined) return;
		await extraction.cancel();
		const outcome = await extraction.outcome;
		if (outcome.ok && outcome.key !== undefined) await this.#parts.storage.removeExtraction(outcome.key);
	}
}

/** The words of an error for a machine's refusal; the actor's own identity is added by the kernel. */
export function refusalOf(reason: unknown): { readonly code: string; readonly problem: string } {
	const error = DaemonError.from(reason, { kind: "image", id: "" });
	const isOwn = error.object.id === "" || error.object.kind === "image" || error.object.kind === "layer";
	return { code: error.code, problem: isOwn ? error.problem : error.message };
}
