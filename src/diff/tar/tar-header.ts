import { tarError } from "./tar-error.ts";
import { tarNumber } from "./tar-number.ts";

/** A header block's fields before extended headers are applied. Strings are byte strings. */
export interface RawHeader {
	readonly name: string;
	readonly link: string;
	/** The type flag as a character; NUL (old archives) is given as "0". */
	readonly type: string;
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
	readonly size: number;
	readonly mtime: number;
	readonly atime: number | undefined;
	readonly major: number;
	readonly minor: number;
}

const text = (block: Buffer, offset: number, length: number): string => {
	let end = offset;
	while (end < offset + length && block[end] !== 0) end++;
	return block.toString("latin1", offset, end);
};

/** Sum of all bytes with the checksum field as blanks. Some old writers summed signed bytes, so both are made. */
function checksums(block: Buffer): readonly [unsigned: number, signed: number] {
	let sum = 0;
	let high = 0;
	for (let index = 0; index < 512; index++) {
		if (index === 148) index = 156;
		const byte = block[index] ?? 0;
		sum += byte;
		if (byte > 127) high++;
	}
	const blanks = 8 * 32;
	return [sum + blanks, sum - 256 * high + blanks];
}

const isZero = (block: Buffer): boolean => {
	for (let index = 0; index < 512; index += 4) if (block.readUInt32LE(index) !== 0) return false;
	return true;
};

/** Reads one block of 512 bytes; undefined for a block of zeroes. Throws InvalidArgument. */
export function rawHeader(block: Buffer): RawHeader | undefined {
	if (block[0] === 0 && isZero(block)) return undefined;
	const sums = checksums(block);
	let stated: number;
	try {
		stated = tarNumber(block, 148, 8, "checksum");
	} catch {
		throw tarError("not a tar archive");
	}
	if (!sums.includes(stated)) throw tarError("not a tar archive, or a damaged one: wrong header checksum");
	const type = block[156] === 0 ? "0" : String.fromCharCode(block[156] ?? 0);
	const magic = block.toString("latin1", 257, 265);
	const ustar = magic.startsWith("ustar\0");
	const gnu = magic === "ustar  \0";
	const star = ustar && block.toString("latin1", 508, 512) === "tar\0";
	const prefix = ustar ? text(block, 345, star ? 131 : 155) : "";
	const name = text(block, 0, 100);
	const device = (ustar || gnu) && (type === "3" || type === "4");
	return {
		name: prefix === "" ? name : `${prefix}/${name}`,
		link: text(block, 157, 100),
		type,
		mode: tarNumber(block, 100, 8, "mode"),
		uid: tarNumber(block, 108, 8, "uid"),
		gid: tarNumber(block, 116, 8, "gid"),
		size: tarNumber(block, 124, 12, "size"),
		mtime: tarNumber(block, 136, 12, "mtime"),
		atime: gnu && block[345] !== 0 ? gnuTime(block) : undefined,
		major: device ? tarNumber(block, 329, 8, "device major") : 0,
		minor: device ? tarNumber(block, 337, 8, "device minor") : 0,
	};
}

/** Old writers put a name's prefix where GNU has the access time (golang.org/issue/12594): then there is none. */
function gnuTime(block: Buffer): number | undefined {
	try {
		return tarNumber(block, 345, 12, "atime");
	} catch {
		return undefined;
	}
}
