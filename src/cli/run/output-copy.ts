import { readSync, write as writeCallback } from "node:fs";
import { Socket } from "node:net";
import { promisify } from "node:util";

const write = promisify(writeCallback);
const chunkSize = 64 * 1024;
/** Milliseconds before a write is tried again where our output is a full, non-blocking pipe. */
const fullRetryMs = 2;

/** Copies a container's output FIFO to one of our descriptors, in order, as fast as the reader of ours takes it. */
export class OutputCopy {
	readonly #from: number;
	readonly #to: number;
	readonly #socket: Socket;
	/** The writes so far; rejects with EPIPE when our reader has gone. */
	#written: Promise<void> = Promise.resolve();
	/** Resolves at the FIFO's end of file. */
	readonly ended: Promise<void>;
	/** Resolves when the reader of our output has gone. */
	readonly broken: Promise<void>;
	#breaks = (): void => {};
	#isBroken = false;

	constructor(from: number, to: number) {
		this.#from = from;
		this.#to = to;
		this.broken = new Promise((resolve) => {
			this.#breaks = resolve;
		});
		this.#socket = new Socket({ fd: from, readable: true, writable: false });
		this.ended = new Promise((resolve) => {
			this.#socket.on("close", () => resolve());
		});
		this.#socket.on("error", () => this.#socket.destroy()); // a FIFO only ends; whatever else it says is the same to us
		this.#socket.on("data", (chunk: Buffer) => {
			this.#socket.pause();
			this.#written = this.#written.then(() => this.#put(chunk)).then(() => void this.#socket.resume());
		});
	}

	/**
	 * Copies what is in the FIFO now, then stops: for after the task's deletion, when nothing more will come. The FIFO's
	 * own end of file is not waited for: a process that escaped the container may hold it.
	 */
	async finish(): Promise<void> {
		await this.#written;
		this.#socket.removeAllListeners("data");
		this.#socket.pause();
		for (let chunk = this.#next(); chunk !== undefined; chunk = this.#next()) await this.#put(chunk);
		this.#socket.destroy();
	}

	/** First what the stream has read ahead (it may go on while a chunk is being written), then what is in the FIFO. */
	#next(): Buffer | undefined {
		const ahead: Buffer | null = this.#socket.read();
		if (ahead !== null) return ahead;
		if (this.#socket.destroyed || this.#socket.readableEnded) return undefined; // at the end of file
		const buffer = Buffer.allocUnsafe(chunkSize);
		try {
			const length = readSync(this.#from, buffer);
			return length === 0 ? undefined : buffer.subarray(0, length);
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
			throw error;
		}
	}

	async #put(chunk: Uint8Array): Promise<void> {
		for (let done = 0; done < chunk.length && !this.#isBroken; ) {
			try {
				done += (await write(this.#to, chunk, done)).bytesWritten;
			} catch (error) {
				const { code } = error as NodeJS.ErrnoException;
				if (code === "EAGAIN") await new Promise((resolve) => setTimeout(resolve, fullRetryMs));
				else {
					this.#isBroken = true; // EPIPE and its kin: read on, so that the container does not block, and say so
					this.#breaks();
				}
			}
		}
	}
}
