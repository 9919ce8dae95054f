import type { Clock } from "../../../actors/kernel/clock.ts";

/** How a request that a registry could not serve just now is repeated on the same host. */
export const retryLimits = {
	/** Requests in all, as in containerd. */
	requests: 6,
	/** Waited before the first repetition; doubled with each, with jitter. Milliseconds. */
	firstMs: 500,
	maxMs: 15_000,
	/** A server that asks for more patience than this is given up. Milliseconds. */
	longestRetryAfterMs: 60_000,
} as const;

export interface Trouble {
	/** HTTP status, or 0 for a connection that broke. */
	readonly status: number;
	/** Requests made so far, this one included. */
	readonly requests: number;
	/** The one before this had the same trouble. */
	readonly again: boolean;
	/** No other host is left to ask. */
	readonly lastHost: boolean;
	readonly retryAfter: string | undefined;
}

/**
 * Milliseconds to wait before the same request is made again; undefined: it is of no use. 408 and 429 are always
 * repeated; what is wrong with the server itself only if no other host can be asked, and not twice in a row.
 */
export function retryDelay(trouble: Trouble, now: number, random: () => number): number | undefined {
	const { status, requests, again, lastHost, retryAfter } = trouble;
	const busy = status === 408 || status === 429;
	const broken = status === 0 || (status >= 500 && status !== 501 && status !== 505);
	if (requests >= retryLimits.requests || !(busy || (broken && lastHost && !again))) return undefined;
	const asked = retryAfterMs(retryAfter, now);
	if (asked !== undefined) return asked > retryLimits.longestRetryAfterMs ? undefined : asked;
	const full = Math.min(retryLimits.maxMs, retryLimits.firstMs * 2 ** (requests - 1));
	return full * (0.5 + random() / 2);
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3). */
export function retryAfterMs(value: string | undefined, now: number): number | undefined {
	if (value === undefined) return undefined;
	if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
	const date = Date.parse(value);
	return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Resolves after `ms`; rejects with the signal's reason when aborted. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
	return new Promise((resolve, reject) => {
		if (signal.aborted) return reject(signal.reason);
		const onAbort = (): void => {
			cancel();
			reject(signal.reason);
		};
		const cancel = clock.after(ms, () => {
			signal.removeEventListener("abort", onAbort);
			resolve();
		});
		signal.addEventListener("abort", onAbort, { once: true });
	});
}
