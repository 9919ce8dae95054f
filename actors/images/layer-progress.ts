/** Where a layer is. */
export type LayerPhase = "waiting" | "downloading" | "extracting" | "done";

export interface LayerState {
	readonly phase: LayerPhase;
	/** Bytes of the blob that are here. */
	readonly offset: number;
}

/** How far one layer is; all pulls that want it listen to the same one. */
export class LayerProgress {
	#state: LayerState = { phase: "waiting", offset: 0 };
	readonly #listeners = new Set<(state: LayerState) => void>();

	get state(): LayerState {
		return this.#state;
	}

	set(phase: LayerPhase, offset = this.#state.offset): void {
		if (phase === this.#state.phase && offset === this.#state.offset) return;
		this.#state = { phase, offset };
		for (const listener of this.#listeners) listener(this.#state);
	}

	/** Calls the listener now and with each change, until the returned function is called. */
	watch(listener: (state: LayerState) => void): () => void {
		this.#listeners.add(listener);
		listener(this.#state);
		return () => this.#listeners.delete(listener);
	}
}
