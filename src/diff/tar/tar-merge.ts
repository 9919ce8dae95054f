import type { PaxRecords } from "./pax-records.ts";
import { readable, type TarEntry, type TarEntryType, type TarTime } from "./tar-entry.ts";
import { tarError } from "./tar-error.ts";
import type { RawHeader } from "./tar-header.ts";

export const emptyBytes = new Uint8Array(0);

const types: Readonly<Record<string, TarEntryType>> = {
	"0": "file",
	"1": "hardlink",
	"2": "symlink",
	"3": "character",
	"4": "block",
	"5": "directory",
	"6": "fifo",
	"7": "file", // "contiguous": POSIX says to take it as a file
};

const attributePrefix = "SCHILY.xattr.";
/** The latest second that fits in 64 bits of nanoseconds: containerd sets what lies beyond to 1970. */
const maxSeconds = 9_223_372_036;
const maxId = 0xffff_fffe;

export const withoutNul = (bytes: Buffer): Uint8Array => {
	const end = bytes.indexOf(0);
	return end < 0 ? bytes : bytes.subarray(0, end);
};

const byteString = (bytes: Uint8Array): string =>
	Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");

/** A header with what the extended headers before it say. GNU long names win over PAX, as in Go's archive/tar. */
export function mergedEntry(
	header: RawHeader,
	pax: PaxRecords | undefined,
	longName: Uint8Array | undefined,
	longLink: Uint8Array | undefined,
): TarEntry {
	const name = nameOf(longName, pax, "path", header.name);
	const link = nameOf(longLink, pax, "linkpath", header.link);
	refuseSparse(header, pax, name);
	let type = types[header.type];
	if (type === undefined)
		throw tarError(`entry ${JSON.stringify(readable(name))} has the unknown type ${JSON.stringify(header.type)}`);
	if (type === "file" && name.endsWith("/")) type = "directory";
	const size = numberOf(pax, "size") ?? header.size;
	if (size < 0 || !Number.isSafeInteger(size)) throw tarError(`entry ${JSON.stringify(readable(name))}: bad size`);
	const atime = timeOf(pax, "atime", header.atime);
	const attributes = attributesOf(pax);
	return {
		name,
		link,
		type,
		mode: header.mode & 0o7777,
		uid: idOf(numberOf(pax, "uid") ?? header.uid, "uid"),
		gid: idOf(numberOf(pax, "gid") ?? header.gid, "gid"),
		size: type === "file" ? size : 0,
		mtime: timeOf(pax, "mtime", header.mtime) ?? { seconds: 0, nanoseconds: 0 },
		...(atime === undefined ? {} : { atime }),
		major: header.major,
		minor: header.minor,
		...(attributes === undefined ? {} : { attributes }),
	};
}

function nameOf(long: Uint8Array | undefined, pax: PaxRecords | undefined, key: string, short: string): string {
	if (long !== undefined) return byteString(long);
	const record = pax?.get(key);
	// An empty value takes the record back (POSIX).
	return record === undefined || record.length === 0 ? short : byteString(record);
}

function numberOf(pax: PaxRecords | undefined, key: string): number | undefined {
	const record = pax?.get(key);
	if (record === undefined || record.length === 0) return undefined;
	const digits = record.toString("latin1");
	if (!/^-?[0-9]{1,16}$/.test(digits)) throw tarError(`extended header ${key} is not a number`);
	return Number(digits);
}

function idOf(id: number, field: string): number {
	if (id < 0 || id > maxId) throw tarError(`${field} ${id} is out of range`);
	return id;
}

function timeOf(pax: PaxRecords | undefined, key: string, plain: number | undefined): TarTime | undefined {
	const record = pax?.get(key);
	if (record === undefined || record.length === 0) return plain === undefined ? undefined : bounded(plain, 0);
	const parts = /^(-?[0-9]{1,20})(?:\.([0-9]*))?$/.exec(record.toString("latin1"));
	if (parts === null) throw tarError(`extended header ${key} is not a time`);
	const negative = parts[1]?.startsWith("-") ?? false;
	return negative ? bounded(-1, 0) : bounded(Number(parts[1]), Number((parts[2] ?? "").padEnd(9, "0").slice(0, 9)));
}

const bounded = (seconds: number, nanoseconds: number): TarTime =>
	seconds < 0 || seconds > maxSeconds ? { seconds: 0, nanoseconds: 0 } : { seconds, nanoseconds };

function attributesOf(pax: PaxRecords | undefined): ReadonlyMap<string, Buffer> | undefined {
	if (pax === undefined) return undefined;
	let attributes: Map<string, Buffer> | undefined;
	for (const [key, value] of pax)
		if (key.startsWith(attributePrefix)) {
			attributes ??= new Map();
			attributes.set(key.slice(attributePrefix.length), value);
		}
	return attributes;
}

function refuseSparse(header: RawHeader, pax: PaxRecords | undefined, name: string): void {
	const sparse = header.type === "S" || [...(pax?.keys() ?? [])].some((key) => key.startsWith("GNU.sparse."));
	if (sparse)
		throw tarError(`entry ${JSON.stringify(readable(name))} is sparse, which is not supported`, "Unimplemented");
}
