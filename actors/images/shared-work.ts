interface Running {
	readonly done: Promise<void>;
	readonly abort: AbortController;
	readonly listeners: Set<(progress: number) => void>;
	takers: number;
}

/** Work that several want and that is done once: it ends early only when the last one who wants it has gone. */
export class SharedWork {
	readonly #running = new Map<string, Running>();

	/** Joins the work of this key, or starts it. Rejects as the work does, or with the signal's reason. */
	async run(
		key: string,
		work: (signal: AbortSignal, report: (progress: number) => void) => Promise<void>,
		signal: AbortSignal,
		onProgress: (progress: number) => void,
	): Promise<void> {
		signal.throwIfAborted();
		const running = this.#running.get(key) ?? this.#start(key, work);
		running.takers++;
		running.listeners.add(onProgress);
		const gone = Promise.withResolvers<never>();
		gone.promise.catch(() => undefined);
		const onAbort = (): void => gone.reject(signal.reason);
		signal.addEventListener("abort", onAbort, { once: true });
		try {
			await Promise.race([running.done, gone.promise]);
		} finally {
			signal.removeEventListener("abort", onAbort);
			running.listeners.delete(onProgress);
			running.takers--;
			if (running.takers === 0) {
				running.abort.abort(signal.reason);
				await running.done.catch(() => undefined); // what it holds (an ingest, a slot) is free when this returns
			}
		}
	}

	#start(key: string, work: (signal: AbortSignal, report: (progress: number) => void) => Promise<void>): Running {
		const abort = new AbortController();
		const listeners = new Set<(progress: number) => void>();
		const report = (progress: number): void => {
			for (const listener of listeners) listener(progress);
		};
		const done = work(abort.signal, report).finally(() => this.#running.delete(key));
		done.catch(() => undefined); // whoever takes part hears of it
		const running = { done, abort, listeners, takers: 0 };
		this.#running.set(key, running);
		return running;
	}
}
