/** Writes archives for tests: any header, also wrong ones. */
export interface TestEntry {
	readonly name: string;
	readonly type?: string;
	readonly link?: string;
	readonly body?: string | Uint8Array;
	readonly mode?: number;
	readonly uid?: number;
	readonly gid?: number;
	readonly mtime?: number;
	readonly major?: number;
	readonly minor?: number;
	/** The size field, if not the body's length. */
	readonly size?: number;
	/** Records of a PAX header in front. */
	readonly pax?: Readonly<Record<string, string | Uint8Array>>;
	/** Writes numbers as base-256. */
	readonly binary?: boolean;
	/** GNU long name and link in front, and GNU magic. */
	readonly gnu?: boolean;
}

const blockSize = 512;

export const padded = (bytes: Uint8Array): Buffer =>
	Buffer.concat([bytes, Buffer.alloc((blockSize - (bytes.length % blockSize)) % blockSize)]);

function field(block: Buffer, offset: number, length: number, value: number, binary: boolean): void {
	if (binary) {
		const wide = Buffer.alloc(length, value < 0 ? 0xff : 0);
		wide.writeBigInt64BE(BigInt(value), length - 8);
		wide[0] = (wide[0] ?? 0) | 0x80;
		wide.copy(block, offset);
	} else block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, offset, "latin1");
}

/** One header block, and its content. Names longer than the field are cut off. */
export function rawEntry(entry: TestEntry): Buffer {
	const { binary = false } = entry;
	const body = Buffer.from(entry.body ?? "");
	const block = Buffer.alloc(blockSize);
	block.write(entry.name, 0, 100, "utf8");
	field(block, 100, 8, entry.mode ?? 0o644, false);
	field(block, 108, 8, entry.uid ?? 0, binary);
	field(block, 116, 8, entry.gid ?? 0, binary);
	field(block, 124, 12, entry.size ?? body.length, binary);
	field(block, 136, 12, entry.mtime ?? 0, binary);
	block.write(entry.type ?? "0", 156);
	block.write(entry.link ?? "", 157, 100, "utf8");
	block.write(entry.gnu === true ? "ustar  \0" : "ustar\x0000", 257, "latin1");
	field(block, 329, 8, entry.major ?? 0, false);
	field(block, 337, 8, entry.minor ?? 0, false);
	block.fill(" ", 148, 156);
	const sum = block.reduce((total, byte) => total + byte, 0);
	block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
	return Buffer.concat([block, padded(body)]);
}

export function paxBody(records: Readonly<Record<string, string | Uint8Array>>): Buffer {
	const parts = Object.entries(records).map(([key, value]) => {
		const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as Uint8Array), Buffer.from("\n")]);
		let length = rest.length + 1;
		while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
		return Buffer.concat([Buffer.from(`${length}`), rest]);
	});
	return Buffer.concat(parts);
}

const entryBytes = (entry: TestEntry): Buffer => {
	const parts: Buffer[] = [];
	if (entry.gnu === true) {
		const long = (type: string, text: string) =>
			parts.push(rawEntry({ name: "././@LongLink", type, body: `${text}\0`, gnu: true }));
		if (Buffer.byteLength(entry.link ?? "") > 100) long("K", entry.link ?? "");
		if (Buffer.byteLength(entry.name) > 100) long("L", entry.name);
	}
	if (entry.pax !== undefined) parts.push(rawEntry({ name: "PaxHeaders/x", type: "x", body: paxBody(entry.pax) }));
	return Buffer.concat([...parts, rawEntry(entry)]);
};

/** A whole archive, with its end mark. */
export const tarOf = (entries: readonly TestEntry[]): Buffer =>
	Buffer.concat([...entries.map(entryBytes), Buffer.alloc(2 * blockSize)]);
