import { getRawPointer } from "node:ffi";

/** Where the bytes are. Valid as long as the caller holds the buffer. */
export const addressOf = (bytes: Uint8Array): bigint => getRawPointer(bytes);

export const cString = (text: string): Buffer => Buffer.from(`${text}\0`);

/** A NULL-terminated `char *[]` with its strings behind it, in one buffer that must live as long as the pointers do. */
export function stringArray(strings: readonly string[]): Buffer {
	const encoded = strings.map(cString);
	const table = 8 * (strings.length + 1);
	const memory = Buffer.alloc(table + encoded.reduce((sum, bytes) => sum + bytes.length, 0));
	const base = addressOf(memory);
	let offset = table;
	encoded.forEach((bytes, index) => {
		memory.writeBigUInt64LE(base + BigInt(offset), 8 * index);
		bytes.copy(memory, offset);
		offset += bytes.length;
	});
	return memory;
}
