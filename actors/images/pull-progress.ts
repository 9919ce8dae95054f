import type { Clock } from "../kernel/clock.ts";
import type { LayerPlan } from "./image-repository.ts";
import type { LayerPhase, LayerProgress } from "./layer-progress.ts";

export type PullPhase = "resolving" | "manifest" | "layers" | "recording" | "done";

/** A pull as it stands. */
export interface PullState {
	readonly phase: PullPhase;
	/** Digest of what the reference names; empty until it is known. */
	readonly target: string;
	readonly layers: readonly LayerProgressState[];
}

export interface LayerProgressState {
	readonly digest: string;
	readonly phase: LayerPhase;
	/** Bytes of the blob that are here. */
	readonly offset: number;
	/** Bytes of the blob. */
	readonly total: number;
}

/** A subscriber is told at most ten times a second, and always of the last state. */
const tellMs = 100;

/** How far one pull is, from its own phase and its layers. */
export class PullProgress {
	readonly #clock: Clock;
	readonly #listeners = new Map<(state: PullState) => void, () => void>();
	readonly #unwatch: (() => void)[] = [];
	#state: PullState = { phase: "resolving", target: "", layers: [] };

	constructor(clock: Clock) {
		this.#clock = clock;
	}

	get state(): PullState {
		return this.#state;
	}

	phase(phase: PullPhase, target = this.#state.target): void {
		this.#change({ ...this.#state, phase, target });
	}

	expect(layers: readonly LayerPlan[]): void {
		const states = layers.map(({ digest, size }) => ({ digest, phase: "waiting" as const, offset: 0, total: size }));
		this.#change({ ...this.#state, phase: "layers", layers: states });
	}

	/** Takes over the progress of a layer's actor; `onMove` is called with each change. */
	follow(index: number, progress: LayerProgress, onMove: () => void): void {
		this.#unwatch.push(
			progress.watch((state) => {
				const layers = this.#state.layers.map((layer, at) => (at === index ? { ...layer, ...state } : layer));
				this.#change({ ...this.#state, layers });
				onMove();
			}),
		);
	}

	arrived(index: number): void {
		const layers = this.#state.layers.map((layer, at) =>
			at === index ? { ...layer, phase: "done" as const, offset: layer.total } : layer,
		);
		this.#change({ ...this.#state, layers });
	}

	/** Calls the listener now and when something moved, until the returned function is called. It must not throw. */
	subscribe(listener: (state: PullState) => void): () => void {
		let cancel: (() => void) | undefined;
		let told: PullState | undefined;
		const tell = (): void => {
			told = this.#state;
			listener(told);
			cancel = this.#clock.after(tellMs, () => {
				cancel = undefined;
				if (told !== this.#state) tell();
			});
		};
		this.#listeners.set(listener, () => {
			if (cancel === undefined) tell();
		});
		tell();
		return () => {
			this.#listeners.delete(listener);
			cancel?.();
			if (told !== this.#state) listener(this.#state);
		};
	}

	/** Lets go of the layers. */
	close(): void {
		for (const unwatch of this.#unwatch.splice(0)) unwatch();
	}

	#change(state: PullState): void {
		this.#state = state;
		for (const notify of this.#listeners.values()) notify();
	}
}
