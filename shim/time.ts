import type { Timestamp } from "../src/gen/google/protobuf/timestamp.ts";

/** Nanoseconds since 1970, with the clock's precision of a millisecond. */
export const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

export const toTimestamp = (nanoseconds: bigint): Timestamp => ({
	seconds: nanoseconds / 1_000_000_000n,
	nanos: Number(nanoseconds % 1_000_000_000n),
});

/** A promise that resolves after so many milliseconds, and does not keep the process alive. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

/** What `work` resolves with, or undefined after `ms` milliseconds (the work goes on). */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
	let timer: NodeJS.Timeout | undefined;
	try {
		return await Promise.race([
			work,
			new Promise<undefined>((resolve) => {
				timer = setTimeout(() => resolve(undefined), ms);
			}),
		]);
	} finally {
		clearTimeout(timer);
	}
}
