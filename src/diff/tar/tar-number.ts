import { tarError } from "./tar-error.ts";

const space = 0x20;
const zero = 0x30;
const seven = 0x37;

/**
 * A numeric field of a header: octal digits padded with spaces or NULs, or, with the first bit set, a big-endian two's
 * complement number (GNU's base-256). Throws InvalidArgument for anything else, and for numbers beyond 2^53.
 */
export function tarNumber(header: Uint8Array, offset: number, length: number, field: string): number {
	const first = header[offset] ?? 0;
	return (first & 0x80) === 0
		? octal(header, offset, length, field)
		: base256(header, offset, length, field, (first & 0x40) !== 0);
}

function octal(header: Uint8Array, offset: number, length: number, field: string): number {
	let at = offset;
	let end = offset + length;
	const padding = (byte: number | undefined): boolean => byte === space || byte === 0;
	while (at < end && padding(header[at])) at++;
	while (end > at && padding(header[end - 1])) end--;
	let value = 0;
	for (; at < end; at++) {
		const byte = header[at] ?? 0;
		// Some writers put a NUL and then rubbish behind the digits.
		if (byte === 0) break;
		if (byte < zero || byte > seven) throw tarError(`header field ${field} is not a number`);
		value = value * 8 + (byte - zero);
	}
	return safe(value, field);
}

function base256(header: Uint8Array, offset: number, length: number, field: string, negative: boolean): number {
	const inverse = negative ? 0xff : 0;
	let value = 0;
	for (let index = 0; index < length; index++) {
		let byte = (header[offset + index] ?? 0) ^ inverse;
		if (index === 0) byte &= 0x7f;
		value = value * 256 + byte;
		safe(value, field);
	}
	return negative ? -value - 1 : value;
}

function safe(value: number, field: string): number {
	if (!Number.isSafeInteger(value)) throw tarError(`header field ${field} is too large`);
	return value;
}
