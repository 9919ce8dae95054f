import { tarError } from "./tar-error.ts";

const blank = 0x20;
const equals = 0x3d;
const newline = 0x0a;

/** Values stay bytes: those of extended attributes are binary. */
export type PaxRecords = ReadonlyMap<string, Buffer>;

/** Keys whose value is text of the file system or a number, where a NUL means a mistake or an attack. */
const textual = new Set(["path", "linkpath", "uname", "gname"]);

/**
 * The records of an extended header: `length key=value\n`, where the length counts the whole record (POSIX pax, "pax
 * Extended Header"). The same key again replaces. Throws InvalidArgument.
 */
export function paxRecords(bytes: Buffer): PaxRecords {
	const records = new Map<string, Buffer>();
	for (let at = 0; at < bytes.length; ) {
		const gap = bytes.indexOf(blank, at);
		// 1 MiB is the largest header, so seven digits.
		const digits = gap < 0 || gap - at > 7 ? "" : bytes.toString("latin1", at, gap);
		const end = at + (/^[0-9]+$/.test(digits) ? Number(digits) : Number.NaN);
		const sign = bytes.indexOf(equals, gap);
		if (!(end <= bytes.length) || sign < 0 || sign >= end - 1 || sign === gap + 1 || bytes[end - 1] !== newline)
			throw tarError("bad record in an extended header");
		const key = bytes.toString("utf8", gap + 1, sign);
		const value = bytes.subarray(sign + 1, end - 1);
		if (textual.has(key) && value.includes(0)) throw tarError(`extended header ${key} holds a NUL`);
		records.set(key, value);
		at = end;
	}
	return records;
}
