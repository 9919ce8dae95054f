/** How long ago, in the largest unit that is not zero: `12s`, `3m`, `5h`, `2d`. */
export function age(milliseconds: number): string {
	const seconds = Math.max(0, Math.floor(milliseconds / 1000));
	if (seconds < 120) return `${seconds}s`;
	if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
	if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
	return `${Math.floor(seconds / 86_400)}d`;
}

/** Milliseconds since 1970 of a protobuf timestamp; undefined where there is none. */
export const milliseconds = (
	time: { readonly seconds: bigint; readonly nanos: number } | undefined,
): number | undefined =>
	time === undefined || (time.seconds === 0n && time.nanos === 0)
		? undefined
		: Number(time.seconds) * 1000 + time.nanos / 1e6;

/** Bytes with three digits and a unit of 1000: `1.23 MB`. */
export function bytes(count: number): string {
	const units = ["B", "kB", "MB", "GB", "TB"];
	let value = count;
	let unit = 0;
	while (value >= 999.5 && unit < units.length - 1) {
		value /= 1000;
		unit++;
	}
	return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}
