import { closeSync, openSync, readSync } from "node:fs";
import { DaemonError } from "../errors/daemon-error.ts";
import { type GrowingBlob, growthOf, waitForGrowth } from "./growing-blob.ts";
import type { LayerSource } from "./unpacker.ts";

/** Bytes read by a worker, synchronously. */
export interface ByteSource {
	/**
	 * Reads into the buffer: the number of bytes, 0 at the end. With a `waitMs` it answers undefined if nothing arrived in
	 * this time; without, it waits until something has.
	 */
	read(buffer: Uint8Array, waitMs?: number): number | undefined;
	/** The descriptor, standing at the start, if all bytes are there now and may be read by somebody else. */
	readonly wholeFile: number | undefined;
	readonly path: string;
	close(): void;
}

/** A file whose writer is silent for that long is given up. */
const stallMs = 600_000;
/** How often a waiting reader looks whether it was cancelled. */
const lookMs = 100;

export const openSource = (source: LayerSource, check: () => void): ByteSource =>
	"blobPath" in source ? fileSource(source.blobPath) : growingSource(source.growing, check);

function fileSource(path: string): ByteSource {
	const fd = openSync(path, "r");
	let offset = 0;
	return {
		path,
		wholeFile: fd,
		// At a position, so that the descriptor's own stays at the start for who takes `wholeFile`.
		read: (buffer) => {
			const count = readSync(fd, buffer, 0, buffer.length, offset);
			offset += count;
			return count;
		},
		close: () => closeSync(fd),
	};
}

/** Reads what is there, as far as the writer says it is. Errors: Aborted (the writer gave up), DeadlineExceeded. */
function growingSource(blob: GrowingBlob, check: () => void): ByteSource {
	const fd = openSync(blob.path, "r");
	let offset = 0;
	const object = { kind: "ingest", id: blob.path };
	const read = (buffer: Uint8Array, waitMs?: number): number | undefined => {
		let deadline = performance.now() + (waitMs ?? stallMs);
		let change: number | undefined;
		for (;;) {
			const growth = growthOf(blob);
			if (growth.state === "failed") throw new DaemonError("Aborted", object, "its writer gave up");
			if (growth.size > offset) {
				const count = readSync(fd, buffer, 0, Math.min(buffer.length, growth.size - offset), offset);
				if (count === 0) throw new DaemonError("DataLoss", object, `shorter than the ${growth.size} bytes written`);
				offset += count;
				return count;
			}
			if (growth.state === "complete") return 0;
			const now = performance.now();
			if (change !== undefined && change !== growth.change && waitMs === undefined) deadline = now + stallMs;
			change = growth.change;
			if (now >= deadline) {
				if (waitMs !== undefined) return undefined;
				throw new DaemonError("DeadlineExceeded", object, `nothing was written for ${stallMs} ms`);
			}
			waitForGrowth(blob, growth, Math.min(lookMs, deadline - now));
			check();
		}
	};
	return { path: blob.path, wholeFile: undefined, read, close: () => closeSync(fd) };
}
