import type { layerMachine } from "../../machines/layer.machine.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { Unpacker } from "../../src/workers/unpacker.ts";
import type { ActorLogic } from "../kernel/actor-logic.ts";
import { child } from "../kernel/child-spec.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import type { SupervisorRef } from "../kernel/supervisor-ref.ts";
import type { DownloadSlots } from "./download-slots.ts";
import type { Extractions } from "./extractions.ts";
import type { ImageRepository, LayerPlan } from "./image-repository.ts";
import type { NamespaceStorage } from "./image-storage.ts";
import { type LayerRef, layerActor } from "./layer.actor.ts";
import { LayerProgress } from "./layer-progress.ts";
import { LayerWork } from "./layer-work.ts";
import type { LeaseShare } from "./pull-leases.ts";
import { SharedWork } from "./shared-work.ts";

export interface LayerOrder {
	readonly key: string;
	readonly namespace: string;
	readonly snapshotter: string;
	readonly layer: LayerPlan;
	readonly unpack: boolean;
	readonly owner: string;
	readonly repository: ImageRepository;
	readonly lease: LeaseShare;
	readonly storage: NamespaceStorage;
}

export interface LayerActorsParts {
	readonly supervisor: () => SupervisorRef;
	readonly slots: DownloadSlots;
	readonly extractions: Extractions;
	readonly unpacker: Unpacker;
	/** Extractions that may follow a download. */
	readonly following: number;
	readonly clock?: Clock;
}

/** A layer that a pull waits for longer than this is lost. Its own deadlines are shorter. */
const wantMs = 24 * 3_600_000;
/** An actor that is just ending refuses; the next one is asked. */
const mostTries = 20;
const againMs = 250;

/** The actors of the layers that are wanted now, one for each key. */
export class LayerActors {
	readonly #parts: LayerActorsParts;
	readonly #clock: Clock;
	readonly #logic: ActorLogic<typeof layerMachine>;
	readonly #works = new Map<string, LayerWork>();
	readonly #starting = new Map<string, Promise<LayerRef>>();
	/** Pulls that want the layer of a path now. */
	readonly #wanters = new Map<string, number>();
	readonly #downloads = new SharedWork();
	readonly #following: { free: number };

	constructor(parts: LayerActorsParts) {
		this.#parts = parts;
		this.#clock = parts.clock ?? systemClock;
		this.#following = { free: parts.following };
		this.#logic = layerActor(
			(path) => this.#workAt(path),
			(path, work) => this.#end(path, work),
		);
	}

	/** Resolves when the layer is here (and extracted). `onProgress` gets the progress of each actor that is asked. */
	async want(order: LayerOrder, signal: AbortSignal, onProgress: (progress: LayerProgress) => void): Promise<void> {
		for (let tries = 1; ; tries++) {
			signal.throwIfAborted();
			try {
				await this.#ask(await this.#actorFor(order), order.key, signal, onProgress);
				return;
			} catch (reason) {
				if (tries === mostTries || !isEnding(reason)) throw reason;
				await new Promise<void>((resolve) => this.#clock.after(againMs, resolve));
			}
		}
	}

	async #ask(
		ref: LayerRef,
		key: string,
		signal: AbortSignal,
		onProgress: (progress: LayerProgress) => void,
	): Promise<void> {
		const work = this.#works.get(ref.path);
		if (work !== undefined) onProgress(work.progress);
		this.#wanters.set(ref.path, (this.#wanters.get(ref.path) ?? 0) + 1);
		try {
			await ref.ask({ type: "want" }, { deadlineMs: wantMs, signal });
		} finally {
			const left = (this.#wanters.get(ref.path) ?? 1) - 1;
			if (left > 0) this.#wanters.set(ref.path, left);
			else {
				this.#wanters.delete(ref.path);
				// Cancelled before the actor took the request: it would wait for ever.
				if (work !== undefined && !work.begun) await this.#stop(ref.path, key, work);
			}
		}
	}

	async #stop(path: string, key: string, work: LayerWork): Promise<void> {
		await this.#parts.supervisor().stop(key);
		this.#end(path, work);
	}

	#actorFor(order: LayerOrder): Promise<LayerRef> {
		const supervisor = this.#parts.supervisor();
		const path = `${supervisor.path}/${order.key}`;
		const starting = this.#starting.get(path);
		if (starting !== undefined) return starting;
		const known = supervisor.find<LayerRef>(order.key);
		if (known !== undefined) return Promise.resolve(known);
		const start = this.#start(supervisor, path, order).finally(() => this.#starting.delete(path));
		this.#starting.set(path, start);
		return start;
	}

	async #start(supervisor: SupervisorRef, path: string, order: LayerOrder): Promise<LayerRef> {
		const { key, namespace, layer, unpack } = order;
		const { slots, extractions, unpacker } = this.#parts;
		const work = new LayerWork({
			...order,
			lease: order.lease.share(),
			slots,
			downloads: this.#downloads,
			extractions,
			unpacker,
			following: this.#following,
			clock: this.#clock,
			progress: new LayerProgress(),
		});
		this.#works.set(path, work);
		const spec = child({
			id: key,
			logic: this.#logic,
			identity: { kind: "layer", namespace, id: layer.digest },
			restart: "temporary",
			input: { digest: layer.digest, diffId: layer.diffId, unpack },
		});
		try {
			return await supervisor.start(spec);
		} catch (reason) {
			this.#end(path, work);
			throw reason;
		}
	}

	#workAt(path: string): LayerWork {
		const work = this.#works.get(path);
		if (work === undefined) throw new Error(`no work for ${path}`);
		return work;
	}

	#end(path: string, work: LayerWork): void {
		if (this.#works.get(path) === work) this.#works.delete(path);
		void work.dispose();
	}
}

/** The asked actor had just ended, or is stopping what was cancelled; the next one is another. */
export function isEnding(reason: unknown): boolean {
	if (!(reason instanceof DaemonError)) return false;
	const { code, problem } = reason;
	if (code === "Unavailable") return problem.includes("ask again") || problem === "is being stopped";
	return code === "AlreadyExists" || (code === "NotFound" && problem === "has ended");
}
