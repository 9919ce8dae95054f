/** Median, 99th percentile and count of a series of measurements. */
export interface Summary {
	readonly median: number;
	readonly p99: number;
	readonly min: number;
	readonly n: number;
}

export function summarize(values: readonly number[]): Summary {
	const sorted = [...values].sort((a, b) => a - b);
	// nearest rank: of 100 values the 99th, not the largest
	const at = (q: number): number => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
	return { median: at(0.5), p99: at(0.99), min: at(0), n: sorted.length };
}

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
	const start = performance.now();
	await work();
	return performance.now() - start;
}
