import type { PullFact, PullLayer } from "../../machines/pull.machine.ts";
import type { Descriptor } from "../../src/content/descriptor.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { Image } from "../../src/metadata/images.ts";
import { contentLabels, withSource } from "./content-labels.ts";
import type { Extractions } from "./extractions.ts";
import type { ImagePlan, ImageRepository, LayerPlan } from "./image-repository.ts";
import type { ImageStorage, NamespaceStorage } from "./image-storage.ts";
import type { LayerActors } from "./layer-actors.ts";
import { layerRef } from "./layer-download.ts";
import { refusalOf } from "./layer-work.ts";
import type { LeaseShare, PullLeases } from "./pull-leases.ts";
import type { PullProgress } from "./pull-progress.ts";

export interface PullWorkParts {
	readonly namespace: string;
	/** The image's name, as it will be recorded. */
	readonly name: string;
	readonly snapshotter: string;
	readonly unpack: boolean;
	/** Names the pull, for the fair share of downloads. */
	readonly owner: string;
	readonly storage: ImageStorage;
	readonly leases: PullLeases;
	readonly repository: ImageRepository;
	readonly layers: LayerActors;
	readonly extractions: Extractions;
	readonly progress: PullProgress;
	/** Milliseconds that never go back. */
	readonly monotonic: () => number;
}

type Send = (fact: PullFact) => void;

/** How often the machine is told that a layer moves. Milliseconds. */
const tellMs = 1_000;

/** What the actor of one pull does; each method answers by facts. */
export class PullWork {
	readonly #parts: PullWorkParts;
	readonly #abort = new AbortController();
	/** Everything under way, so that an end can wait for it. */
	readonly #running = new Set<Promise<void>>();
	#begun = false;
	#lease: LeaseShare | undefined;
	#target: Descriptor | undefined;
	#plan: ImagePlan = { config: "", layers: [] };
	#toldAt = Number.NEGATIVE_INFINITY;
	/** The image's record, once the pull is done. */
	record: Image | undefined;

	constructor(parts: PullWorkParts) {
		this.#parts = parts;
	}

	/** Whether the actor has taken its first request. */
	get begun(): boolean {
		return this.#begun;
	}

	get progress(): PullProgress {
		return this.#parts.progress;
	}

	resolve(send: Send): void {
		this.#begun = true;
		this.#run(send, async (signal) => {
			const { leases, namespace, repository, progress } = this.#parts;
			this.#lease = await leases.acquire(namespace);
			const target = await repository.resolve(signal);
			this.#target = target;
			progress.phase("manifest", target.digest);
			return { type: "reference.resolved", target: target.digest };
		});
	}

	fetchManifest(send: Send): void {
		this.#run(send, async (signal) => {
			const { repository, progress, unpack } = this.#parts;
			this.#plan = await repository.plan(this.#resolved(), this.#storage(), signal);
			if (unpack) assertUnpackable(this.#plan.layers);
			progress.expect(this.#plan.layers);
			const layers = this.#plan.layers.map(({ digest, diffId, chainId }) => ({ digest, diffId, chainId }));
			return { type: "manifest.fetched", layers };
		});
	}

	wantLayers(layers: readonly PullLayer[], send: Send): void {
		for (const index of layers.keys()) this.#run(send, (signal) => this.#wantLayer(index, signal, send));
	}

	commitSnapshot(index: number, send: Send): void {
		this.#run(send, async () => {
			const { extractions } = this.#parts;
			const layer = this.#layerAt(index);
			await extractions.commit(this.#keyOf(layer), layer, this.#storage());
			return { type: "snapshot.committed", index };
		});
	}

	recordImage(send: Send): void {
		this.#run(send, async () => {
			const { name, snapshotter, unpack, progress } = this.#parts;
			const storage = this.#storage();
			progress.phase("recording");
			const top = this.#plan.layers.at(-1)?.chainId;
			if (unpack && top !== undefined)
				await storage.labelBlob(this.#plan.config, { [contentLabels.snapshot(snapshotter)]: top });
			this.record = await storage.recordImage(name, this.#resolved());
			await this.#release(); // from here on the image keeps what the lease kept
			progress.phase("done");
			return { type: "image.recorded" };
		});
	}

	/** Answers when nothing runs any more. A full disk keeps no half-fetched layers either. */
	stop(send: Send, diskIsFull: boolean): void {
		const stopped = async (): Promise<void> => {
			this.#abort.abort();
			await Promise.allSettled(this.#running);
			if (diskIsFull && this.#lease !== undefined) await this.#forgetIngests();
			await this.dispose();
			send({ type: "work.stopped" });
		};
		void stopped();
	}

	/** Lets go of everything. Repeatable; never rejects. */
	async dispose(): Promise<void> {
		this.#abort.abort();
		await Promise.allSettled(this.#running);
		this.#parts.progress.close();
		await this.#release().catch(() => undefined); // a lease that stays expires by itself
	}

	async #wantLayer(index: number, signal: AbortSignal, send: Send): Promise<PullFact> {
		const { namespace, snapshotter, unpack, owner, repository, extractions, layers, progress } = this.#parts;
		const layer = this.#layerAt(index);
		const key = this.#keyOf(layer);
		if (unpack) extractions.claim(key, this);
		const onMove = (): void => {
			const now = this.#parts.monotonic();
			if (now - this.#toldAt < tellMs) return;
			this.#toldAt = now;
			send({ type: "layer.progressed" });
		};
		const lease = this.#leased();
		const order = { key, namespace, snapshotter, layer, unpack, owner, repository, lease, storage: this.#storage() };
		await layers.want(order, signal, (layerProgress) => progress.follow(index, layerProgress, onMove));
		await this.#addSource(layer);
		progress.arrived(index);
		return { type: "layer.arrived", index };
	}

	/** The blob may be here from another repository; a chain that was extracted long ago needs no blob at all. */
	async #addSource(layer: LayerPlan): Promise<void> {
		const { registry, repository } = this.#parts.repository.source;
		const storage = this.#storage();
		const label = contentLabels.source(registry);
		const known = await storage.blob(layer.digest);
		if (known === undefined) return;
		const value = withSource(label, known.labels[label], repository);
		if (value !== known.labels[label]) await storage.labelBlob(layer.digest, { [label]: value });
	}

	async #forgetIngests(): Promise<void> {
		const storage = this.#storage();
		await Promise.allSettled(this.#plan.layers.map(({ digest }) => storage.abortIngest(layerRef(digest))));
	}

	async #release(): Promise<void> {
		await this.#parts.extractions.release(this);
		await this.#lease?.release();
	}

	#keyOf({ digest, chainId }: LayerPlan): string {
		const { namespace, snapshotter, unpack } = this.#parts;
		return unpack ? `${namespace}/${snapshotter}/${chainId}` : `${namespace}/${digest}`;
	}

	#layerAt(index: number): LayerPlan {
		const layer = this.#plan.layers[index];
		if (layer === undefined) throw new RangeError(`no layer ${index}`);
		return layer;
	}

	#resolved(): Descriptor {
		if (this.#target === undefined) throw new Error("nothing is resolved yet");
		return this.#target;
	}

	#leased(): LeaseShare {
		if (this.#lease === undefined) throw new Error("the pull has no lease");
		return this.#lease;
	}

	#storage(): NamespaceStorage {
		const { storage, namespace, snapshotter } = this.#parts;
		return storage.open(namespace, snapshotter, this.#leased().id);
	}

	/** Runs one piece of work; its fact, or its failure, goes to the machine. */
	#run(send: Send, work: (signal: AbortSignal) => Promise<PullFact>): void {
		const running: Promise<void> = work(this.#abort.signal)
			.then(send, (reason: unknown) => send({ type: "pull.failed", ...refusalOf(reason) }))
			.finally(() => this.#running.delete(running));
		this.#running.add(running);
	}
}

/** Refuses what no differ takes before anything is fetched. */
function assertUnpackable(layers: readonly LayerPlan[]): void {
	for (const { digest, mediaType, diffId } of layers) {
		const object = { kind: "layer", id: digest };
		if (mediaType.endsWith("+encrypted"))
			throw new DaemonError("Unimplemented", object, "encrypted layers are not supported");
		if (diffId === "") throw new DaemonError("FailedPrecondition", object, "the image's config has no diff ID for it");
	}
}
