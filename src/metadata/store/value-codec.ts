import type { Value } from "./store.ts";

/**
 * Values on disk: JSON, with bytes as {"$b": base64} and 64-bit integers as {"$n": decimal}. A field whose own name
 * starts with "$" gets one more, so nothing a client stores can be taken for a tag.
 */
export const encodeValue = (value: Value): string => JSON.stringify(tagged(value));

/** What {@link encodeValue} wrote. A SyntaxError is damage on disk. */
export const decodeValue = (text: string): Value => JSON.parse(text, untagged) as Value;

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

function tagged(value: Value): Json {
	if (typeof value === "bigint") return { $n: value.toString() };
	if (typeof value !== "object" || value === null) return value;
	if (value instanceof Uint8Array)
		return { $b: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
	if (Array.isArray(value)) return value.map(tagged);
	return Object.fromEntries(
		Object.entries(value).flatMap(([name, part]) =>
			part === undefined ? [] : [[name.startsWith("$") ? `$${name}` : name, tagged(part)]],
		),
	);
}

function untagged(_name: string, part: unknown): unknown {
	if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
	const names = Object.keys(part);
	if (!names.some((name) => name.startsWith("$"))) return part;
	const { $n, $b } = part as { $n?: string; $b?: string };
	if ($n !== undefined) return BigInt($n);
	if ($b !== undefined) return new Uint8Array(Buffer.from($b, "base64"));
	return Object.fromEntries(
		Object.entries(part).map(([name, value]) => [name.startsWith("$$") ? name.slice(1) : name, value]),
	);
}
