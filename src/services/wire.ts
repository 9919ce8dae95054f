/** Small values that every service translates: times, Any values, field masks. */
import { DaemonError } from "../errors/daemon-error.ts";
import type { Any } from "../gen/google/protobuf/any.ts";
import type { Timestamp } from "../gen/google/protobuf/timestamp.ts";
import type { AnyValue } from "../metadata/scope.ts";

export type { AnyValue };

const nanosPerSecond = 1_000_000_000n;

/** Nanoseconds since 1970 as a protobuf timestamp. */
export const toTimestamp = (nanoseconds: bigint): Timestamp => {
	const nanos = ((nanoseconds % nanosPerSecond) + nanosPerSecond) % nanosPerSecond;
	return { seconds: (nanoseconds - nanos) / nanosPerSecond, nanos: Number(nanos) };
};

/** 0 is "it has not happened": no timestamp. */
export const toOptionalTimestamp = (nanoseconds: bigint): Timestamp | undefined =>
	nanoseconds === 0n ? undefined : toTimestamp(nanoseconds);

export const fromTimestamp = ({ seconds, nanos }: Timestamp): bigint => seconds * nanosPerSecond + BigInt(nanos);

export const toAny = ({ typeUrl, value }: AnyValue): Any => ({ typeUrl, value });

export const toOptionalAny = (any: AnyValue | undefined): Any | undefined =>
	any === undefined ? undefined : toAny(any);

/**
 * Kept byte for byte, the type URL included: whoever cannot decode a value must hand it back unchanged. An Any without
 * type and value is the same as none (Go clients send both).
 */
export const fromAny = (any: Any | undefined): AnyValue | undefined =>
	any === undefined || (any.typeUrl === "" && any.value.length === 0)
		? undefined
		: { typeUrl: any.typeUrl, value: any.value };

/** The full name of a message behind a type URL: containerd writes it bare, others put `type.googleapis.com/` in front. */
export const messageName = (typeUrl: string): string => typeUrl.slice(typeUrl.lastIndexOf("/") + 1);

/** The message field of a request that must not be absent. */
export function required<T>(value: T | undefined, kind: string, field: string): T {
	if (value === undefined) throw new DaemonError("InvalidArgument", { kind, id: "" }, `${field} is required`);
	return value;
}

interface Decoder<T> {
	decode(input: Uint8Array): T;
}

/** The message inside an Any. InvalidArgument if it is of another type or its bytes are broken. */
export function decodeAny<T>(codec: Decoder<T>, name: string, any: AnyValue): T {
	const value = { kind: "value", id: any.typeUrl };
	if (messageName(any.typeUrl) !== name) throw new DaemonError("InvalidArgument", value, `expected ${name}`);
	try {
		return codec.decode(any.value);
	} catch (reason) {
		throw DaemonError.from(reason, value, "InvalidArgument");
	}
}

/** Several Any values by name. An empty one is left out. */
export const fromAnyMap = (map: Readonly<Record<string, Any>>): Readonly<Record<string, AnyValue>> =>
	Object.fromEntries(
		Object.entries(map).flatMap(([name, any]) => {
			const value = fromAny(any);
			return value === undefined ? [] : [[name, value]];
		}),
	);

/** A 64-bit count of the wire as a number. InvalidArgument where that would lose digits, or for less than 0. */
export function count(value: bigint, kind: string, field: string): number {
	if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER))
		throw new DaemonError("InvalidArgument", { kind, id: "" }, `${field} is out of range: ${value}`);
	return Number(value);
}
