import type { pullMachine } from "../../machines/pull.machine.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { Image } from "../../src/metadata/images.ts";
import type { Unpacker } from "../../src/workers/unpacker.ts";
import type { ActorLogic } from "../kernel/actor-logic.ts";
import { child, type SupervisorChildSpec, supervisorChild } from "../kernel/child-spec.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import type { SupervisorRef } from "../kernel/supervisor-ref.ts";
import type { System } from "../kernel/system.ts";
import { DownloadSlots } from "./download-slots.ts";
import { Extractions } from "./extractions.ts";
import type { ImageRepository } from "./image-repository.ts";
import type { ImageStorage } from "./image-storage.ts";
import { isEnding, LayerActors } from "./layer-actors.ts";
import { type PullRef, pullActor } from "./pull.actor.ts";
import { PullLeases } from "./pull-leases.ts";
import { PullProgress, type PullState } from "./pull-progress.ts";
import { PullWork } from "./pull-work.ts";

export interface ImageActorsParts {
	readonly storage: ImageStorage;
	readonly unpacker: Unpacker;
	/** Layers fetched at once, over all pulls; default 3 (containerd's `max_concurrent_downloads`). */
	readonly downloads?: number;
	/** Extractions that may run beside a download and hold a worker meanwhile; default 1. Less than there are workers. */
	readonly following?: number;
	readonly clock?: Clock;
}

export interface PullOrder {
	readonly namespace: string;
	/** The image's full name. */
	readonly name: string;
	readonly snapshotter: string;
	readonly unpack: boolean;
	/** Pulls of one name that differ in this are different pulls: platform, credentials. */
	readonly variant: string;
	/** Called if the pull is not under way already. */
	readonly openRepository: () => Promise<ImageRepository>;
}

export interface PullOptions {
	readonly signal?: AbortSignal | undefined;
	readonly onProgress?: ((state: PullState) => void) | undefined;
}

const longestPullMs = 24 * 3_600_000;
const mostTries = 20;
const againMs = 250;

/**
 * The branch of the actor tree that pulls images: `/images/pulls` has an actor per namespace and name, `/images/layers` one
 * per layer that is wanted. Whoever asks for the same image meanwhile gets the same answer; when the last one has gone the
 * pull stops and leaves its ingests for the next.
 */
export class ImageActors {
	/** To be put below the system's root, then {@link attach}. */
	readonly spec: SupervisorChildSpec = supervisorChild({
		id: "images",
		supervisor: {
			strategy: "one_for_one",
			children: [
				supervisorChild({ id: "layers", supervisor: { strategy: "one_for_one" } }),
				supervisorChild({ id: "pulls", supervisor: { strategy: "one_for_one" } }),
			],
		},
	});
	readonly #parts: ImageActorsParts;
	readonly #clock: Clock;
	readonly #leases: PullLeases;
	readonly #extractions = new Extractions();
	readonly #layers: LayerActors;
	readonly #logic: ActorLogic<typeof pullMachine>;
	readonly #works = new Map<string, PullWork>();
	readonly #starting = new Map<string, Promise<PullRef>>();
	/** Asks that are open, by path. */
	readonly #asks = new Map<string, number>();
	#system: System | undefined;

	constructor(parts: ImageActorsParts) {
		this.#parts = parts;
		this.#clock = parts.clock ?? systemClock;
		this.#leases = new PullLeases(parts.storage, () => this.#clock.now());
		this.#layers = new LayerActors({
			supervisor: () => this.#supervisor("layers"),
			slots: new DownloadSlots(parts.downloads ?? 3),
			extractions: this.#extractions,
			unpacker: parts.unpacker,
			following: parts.following ?? 1,
			clock: this.#clock,
		});
		this.#logic = pullActor(
			(path) => this.#workAt(path),
			(path, work) => this.#end(path, work),
		);
	}

	/** Tells in which system the branch runs. */
	attach(system: System): void {
		this.#system = system;
	}

	/** Pulls, or joins the pull that is under way; answers the image's record. Errors: those of the pull; Canceled. */
	async pull(order: PullOrder, { signal, onProgress }: PullOptions = {}): Promise<Image> {
		for (let tries = 1; ; tries++) {
			signal?.throwIfAborted();
			let unsubscribe: (() => void) | undefined;
			try {
				const { ref, work } = await this.#actorFor(order);
				if (onProgress !== undefined) unsubscribe = work.progress.subscribe(onProgress);
				return await this.#ask(ref, order, work, signal);
			} catch (reason) {
				if (tries === mostTries || !isEnding(reason)) throw reason;
			} finally {
				unsubscribe?.();
			}
			await new Promise<void>((resolve) => this.#clock.after(againMs, resolve));
		}
	}

	/** The pulls that are under way. */
	*states(): Iterable<{ readonly path: string; readonly state: PullState }> {
		for (const [path, work] of this.#works) yield { path, state: work.progress.state };
	}

	async #ask(ref: PullRef, order: PullOrder, work: PullWork, signal: AbortSignal | undefined): Promise<Image> {
		this.#asks.set(ref.path, (this.#asks.get(ref.path) ?? 0) + 1);
		try {
			await ref.ask({ type: "pull" }, { deadlineMs: longestPullMs, signal });
			if (work.record === undefined) throw new Error(`${ref.path} is done and has no image`);
			return work.record;
		} finally {
			const left = (this.#asks.get(ref.path) ?? 1) - 1;
			if (left > 0) this.#asks.set(ref.path, left);
			else {
				this.#asks.delete(ref.path);
				if (!work.begun) {
					await this.#supervisor("pulls").stop(idOf(order));
					this.#end(ref.path, work);
				}
			}
		}
	}

	async #actorFor(order: PullOrder): Promise<{ readonly ref: PullRef; readonly work: PullWork }> {
		const supervisor = this.#supervisor("pulls");
		const id = idOf(order);
		const path = `${supervisor.path}/${id}`;
		let starting = this.#starting.get(path);
		if (starting === undefined && !this.#works.has(path)) {
			starting = this.#start(supervisor, id, path, order).finally(() => this.#starting.delete(path));
			this.#starting.set(path, starting);
		}
		const ref = (await starting) ?? supervisor.find<PullRef>(id);
		const work = this.#works.get(path);
		if (ref === undefined || work === undefined)
			throw new DaemonError("Unavailable", { kind: "image", id: order.name }, "its pull has just ended, ask again");
		return { ref, work };
	}

	async #start(supervisor: SupervisorRef, id: string, path: string, order: PullOrder): Promise<PullRef> {
		const { namespace, name, snapshotter, unpack } = order;
		const work = new PullWork({
			namespace,
			name,
			snapshotter,
			unpack,
			owner: path,
			storage: this.#parts.storage,
			leases: this.#leases,
			repository: await order.openRepository(),
			layers: this.#layers,
			extractions: this.#extractions,
			progress: new PullProgress(this.#clock),
			monotonic: () => this.#clock.monotonic(),
		});
		this.#works.set(path, work);
		const identity = { kind: "image", namespace, id: name };
		const input = { reference: name, unpack };
		try {
			return await supervisor.start(child({ id, logic: this.#logic, identity, restart: "temporary", input }));
		} catch (reason) {
			this.#end(path, work);
			throw reason;
		}
	}

	#workAt(path: string): PullWork {
		const work = this.#works.get(path);
		if (work === undefined) throw new Error(`no work for ${path}`);
		return work;
	}

	#end(path: string, work: PullWork): void {
		if (this.#works.get(path) === work) this.#works.delete(path);
		void work.dispose();
	}

	#supervisor(id: "layers" | "pulls"): SupervisorRef {
		const found = this.#system?.supervisor(`/images/${id}`);
		if (found === undefined)
			throw new DaemonError("Unavailable", { kind: "supervisor", id: `/images/${id}` }, "is not running");
		return found;
	}
}

const idOf = ({ namespace, name, snapshotter, unpack, variant }: PullOrder): string =>
	[`${namespace}/${name}`, variant, unpack ? snapshotter : "content"].filter((part) => part !== "").join(" ");
