import { type PaxRecords, paxRecords } from "./pax-records.ts";
import type { TarEntry } from "./tar-entry.ts";
import { tarError } from "./tar-error.ts";
import { type RawHeader, rawHeader } from "./tar-header.ts";
import { emptyBytes, mergedEntry, withoutNul } from "./tar-merge.ts";

/** What an archive is read into. Everything is called synchronously, in the archive's order. */
export interface TarSink {
	entry(entry: TarEntry): void;
	/** The next part of the last entry's content. The bytes belong to the reader: use them before returning. */
	content(chunk: Uint8Array, start: number, end: number): void;
	/** After an entry and all of its content. */
	entryEnd(): void;
}

const blockSize = 512;
/** As Go's archive/tar: an extended header or a long name beyond it is an attack. */
const maxMetaSize = 1 << 20;

/**
 * Reads a tar archive (v7, ustar, PAX, GNU) that is pushed in chunks of any size. Global PAX headers are read over:
 * containerd and docker ignore them, and a layer must mean the same everywhere. What follows the end mark is ignored.
 * Throws InvalidArgument (not a tar), DataLoss (cut short), Unimplemented (sparse files).
 */
export class TarReader {
	readonly #sink: TarSink;
	/** Begin of a header that the next chunk completes. */
	#carry: Uint8Array = emptyBytes;
	/** Bytes of content that are still to come, then bytes of padding. */
	#content = 0;
	#padding = 0;
	#inEntry = false;
	/** The extended header that is being collected. */
	#meta: { readonly header: RawHeader; readonly bytes: Buffer; filled: number } | undefined;
	#pax: PaxRecords | undefined;
	#longName: Uint8Array | undefined;
	#longLink: Uint8Array | undefined;
	#ended = false;
	#zeroBlock = false;
	#sawHeader = false;

	constructor(sink: TarSink) {
		this.#sink = sink;
	}

	push(chunk: Uint8Array): void {
		let at = this.#completeCarry(chunk);
		while (!this.#ended) {
			at = this.#body(chunk, at);
			if (this.#inEntry || chunk.length - at < blockSize) break;
			this.#header(Buffer.from(chunk.buffer, chunk.byteOffset + at, blockSize));
			at += blockSize;
		}
		if (!this.#ended && at < chunk.length) this.#carry = Buffer.concat([this.#carry, chunk.subarray(at)]);
	}

	/** The archive's bytes are over. */
	end(): void {
		if (this.#ended) return;
		if (this.#inEntry || this.#carry.length > 0 || this.#hasMeta())
			throw tarError(
				this.#sawHeader ? "the archive is cut short" : "not a tar archive",
				this.#sawHeader ? "DataLoss" : "InvalidArgument",
			);
	}

	/** Fills up a header that the last chunk began; says how many bytes that took. */
	#completeCarry(chunk: Uint8Array): number {
		const missing = blockSize - this.#carry.length;
		if (this.#carry.length === 0 || chunk.length < missing) return 0;
		const block = Buffer.concat([this.#carry, chunk.subarray(0, missing)]);
		this.#carry = emptyBytes;
		this.#header(block);
		return missing;
	}

	#hasMeta(): boolean {
		return this.#pax !== undefined || this.#longName !== undefined || this.#longLink !== undefined;
	}

	/** Takes content and padding of the entry under way; says where the next header begins. */
	#body(bytes: Uint8Array, start: number): number {
		if (!this.#inEntry) return start;
		let at = start;
		const content = Math.min(this.#content, bytes.length - at);
		if (content > 0) {
			if (this.#meta === undefined) this.#sink.content(bytes, at, at + content);
			else {
				this.#meta.bytes.set(bytes.subarray(at, at + content), this.#meta.filled);
				this.#meta.filled += content;
			}
			at += content;
			this.#content -= content;
			if (this.#content === 0) this.#contentEnd();
		}
		if (this.#content > 0) return at;
		const padding = Math.min(this.#padding, bytes.length - at);
		this.#padding -= padding;
		if (this.#padding === 0) this.#inEntry = false;
		return at + padding;
	}

	#contentEnd(): void {
		const meta = this.#meta;
		if (meta === undefined) {
			this.#sink.entryEnd();
			return;
		}
		this.#meta = undefined;
		switch (meta.header.type) {
			case "x":
				this.#pax = paxRecords(meta.bytes);
				break;
			case "L":
				this.#longName = withoutNul(meta.bytes);
				break;
			case "K":
				this.#longLink = withoutNul(meta.bytes);
				break;
			default: // "g": read over
		}
	}

	#expect(size: number): void {
		this.#content = size;
		this.#padding = (blockSize - (size % blockSize)) % blockSize;
		this.#inEntry = size > 0;
	}

	#header(block: Buffer): void {
		const header = rawHeader(block);
		if (header === undefined) {
			// Two blocks of zeroes end an archive (POSIX); one before the end of the bytes is accepted, as in Go.
			if (this.#zeroBlock) this.#ended = true;
			this.#zeroBlock = true;
			if (this.#hasMeta()) throw tarError("the archive ends after an extended header", "DataLoss");
			return;
		}
		if (this.#zeroBlock) throw tarError("a block of zeroes between entries");
		this.#sawHeader = true;
		if ("xgLK".includes(header.type)) {
			if (header.size > maxMetaSize) throw tarError(`extended header of ${header.size} bytes`);
			if (header.size === 0) return;
			this.#meta = { header, bytes: Buffer.alloc(header.size), filled: 0 };
			this.#expect(header.size);
			return;
		}
		const entry = mergedEntry(header, this.#pax, this.#longName, this.#longLink);
		this.#pax = undefined;
		this.#longName = undefined;
		this.#longLink = undefined;
		this.#sink.entry(entry);
		this.#expect(entry.size);
		if (entry.size === 0) this.#sink.entryEnd();
	}
}
