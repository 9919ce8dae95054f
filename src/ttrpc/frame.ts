/**
 * ttrpc frames (containerd/ttrpc PROTOCOL.md): a header of 10 bytes, big-endian: u32 length of the data, u32 stream,
 * u8 type, u8 flags; then at most 4 MiB of data.
 */
export interface Frame {
	readonly stream: number;
	readonly type: number;
	readonly flags: number;
	readonly data: Uint8Array;
}

/** A frame whose data was longer than allowed: it was read over, its call must be answered with ResourceExhausted. */
export interface OversizeFrame {
	readonly stream: number;
	readonly type: number;
	readonly flags: number;
	readonly length: number;
}

export const frameType = { request: 1, response: 2, data: 3 } as const;
/** On a request: the sender will send data (streaming). On data: the sender has finished, or sends none. */
export const frameFlag = { remoteClosed: 1, remoteOpen: 2, noData: 4 } as const;
export const maximumData = 4 << 20;
const headerLength = 10;

export function encodeFrame({ stream, type, flags, data }: Frame): Buffer {
	const frame = Buffer.allocUnsafe(headerLength + data.length);
	frame.writeUInt32BE(data.length, 0);
	frame.writeUInt32BE(stream, 4);
	frame.writeUInt8(type, 8);
	frame.writeUInt8(flags, 9);
	frame.set(data, headerLength);
	return frame;
}

export interface FrameListener {
	frame(frame: Frame): void;
	oversize(frame: OversizeFrame): void;
}

/** Puts frames together from chunks of any size. Holds at most one header and one frame's data. */
export class FrameReader {
	readonly #listener: FrameListener;
	readonly #header = Buffer.alloc(headerLength);
	#headerFilled = 0;
	/** The data being collected; undefined between frames and while an oversize frame is read over. */
	#data: Buffer | undefined;
	#dataFilled = 0;
	#toSkip = 0;

	constructor(listener: FrameListener) {
		this.#listener = listener;
	}

	push(chunk: Uint8Array): void {
		let rest = chunk;
		while (rest.length > 0) {
			if (this.#toSkip > 0) {
				const skipped = Math.min(this.#toSkip, rest.length);
				this.#toSkip -= skipped;
				rest = rest.subarray(skipped);
			} else if (this.#data === undefined) rest = this.#collectHeader(rest);
			else rest = this.#collectData(this.#data, rest);
		}
	}

	#collectHeader(chunk: Uint8Array): Uint8Array {
		const taken = chunk.subarray(0, headerLength - this.#headerFilled);
		this.#header.set(taken, this.#headerFilled);
		this.#headerFilled += taken.length;
		if (this.#headerFilled === headerLength) this.#begin(this.#header.readUInt32BE(0));
		return chunk.subarray(taken.length);
	}

	#begin(length: number): void {
		this.#headerFilled = 0;
		if (length > maximumData) {
			this.#toSkip = length;
			this.#listener.oversize({ ...this.#head(), length });
			return;
		}
		if (length === 0) {
			this.#listener.frame({ ...this.#head(), data: new Uint8Array(0) });
			return;
		}
		this.#data = Buffer.allocUnsafe(length);
		this.#dataFilled = 0;
	}

	#collectData(data: Buffer, chunk: Uint8Array): Uint8Array {
		const taken = chunk.subarray(0, data.length - this.#dataFilled);
		data.set(taken, this.#dataFilled);
		this.#dataFilled += taken.length;
		if (this.#dataFilled === data.length) {
			this.#data = undefined;
			this.#listener.frame({ ...this.#head(), data });
		}
		return chunk.subarray(taken.length);
	}

	#head() {
		return {
			stream: this.#header.readUInt32BE(4),
			type: this.#header.readUInt8(8),
			flags: this.#header.readUInt8(9),
		};
	}
}
