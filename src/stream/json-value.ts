export type JsonValue = null | boolean | number | string | JsonValue[] | { [name: string]: JsonValue };

/**
 * Plain data as JSON, in the manner of protobuf's JSON mapping: big integers as decimal strings, bytes as base64,
 * timestamps (objects of exactly `seconds` and `nanos`) as RFC 3339. Undefined members are left out.
 */
export function jsonOf(value: unknown): JsonValue {
	if (value === null || value === undefined) return null;
	if (typeof value === "boolean" || typeof value === "string") return value;
	if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
	if (typeof value === "bigint") return value.toString();
	if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString("base64");
	if (Array.isArray(value)) return value.map(jsonOf);
	if (isTimestamp(value)) return rfc3339(value.seconds * 1_000_000_000n + BigInt(value.nanos));
	const object: { [name: string]: JsonValue } = {};
	for (const [name, member] of Object.entries(value)) if (member !== undefined) object[name] = jsonOf(member);
	return object;
}

/** Nanoseconds since 1970 as `2026-01-02T03:04:05.678901234Z`; the fraction is left out when it is zero. */
export function rfc3339(nanoseconds: bigint): string {
	const fraction = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
	const seconds = (nanoseconds - fraction) / 1_000_000_000n;
	const milliseconds = Number(seconds) * 1000;
	// a Date ends in the year 275760; a time beyond that is nobody's clock, and must not break the stream
	if (!(Math.abs(milliseconds) <= 8.64e15)) return `${seconds}s`;
	const whole = new Date(milliseconds).toISOString().slice(0, -".000Z".length);
	return fraction === 0n ? `${whole}Z` : `${whole}.${fraction.toString().padStart(9, "0")}Z`;
}

const isTimestamp = (value: object): value is { seconds: bigint; nanos: number } =>
	"seconds" in value &&
	"nanos" in value &&
	typeof value.seconds === "bigint" &&
	typeof value.nanos === "number" &&
	Object.keys(value).length === 2;
