import type { Backoff } from "./child-spec.ts";

export const defaultBackoff: Backoff = { firstMs: 50, maxMs: 10_000, jitter: 0.5, resetMs: 30_000 };

/** Milliseconds before a restart after `failures` earlier ones in a row: doubled, bounded, minus a random part. */
export const backoffMs = ({ firstMs, maxMs, jitter }: Backoff, failures: number, random: () => number): number =>
	Math.min(maxMs, firstMs * 2 ** failures) * (1 - jitter * random());
