import type { Clock } from "./clock.ts";

/** Waits for work that never rejects, at most `ms`; true if it was done in time. */
export function within(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
	const { promise, resolve } = Promise.withResolvers<boolean>();
	const cancel = Number.isFinite(ms) ? clock.after(ms, () => resolve(false)) : undefined;
	work.then(() => {
		cancel?.();
		resolve(true);
	});
	return promise;
}
