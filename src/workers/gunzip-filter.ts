import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { DaemonError } from "../errors/daemon-error.ts";
import type { Kernel } from "../sys/kernel.ts";
import { addressOf } from "../sys/memory.ts";
import { failedWith } from "../sys/sys-error.ts";
import type { ByteSource } from "./byte-source.ts";

/** isa-l's gunzip, twice as fast as zlib; from the distribution's package `isal`. */
export const igzipPath: string | undefined = ["/usr/bin/igzip", "/usr/local/bin/igzip"].find((path) =>
	existsSync(path),
);

export type FilterCalls = Pick<Kernel, "pipe2" | "fcntl" | "read" | "write" | "close" | "ppoll">;

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const pipeSize = 1 << 20;
const POLLIN = 1;
const POLLOUT = 4;
const complaintLimit = 1000;

/** A program that decompresses in its own process, beside the thread that reads from it. */
export class GunzipFilter {
	readonly #kernel: FilterCalls;
	readonly #source: ByteSource;
	readonly #child: ChildProcess;
	readonly #closed: Promise<unknown[]>;
	readonly #output: number;
	/** The child's standard input while we feed it; undefined when it reads the file itself, or has all. */
	#input: number | undefined;
	readonly #pending = Buffer.allocUnsafe(1 << 18);
	#pendingStart = 0;
	#pendingEnd = 0;
	#complaint = "";

	/** `feed`: the bytes go through this thread (it digests them, or they are still arriving). */
	constructor(kernel: FilterCalls, program: string, source: ByteSource, feed: boolean) {
		this.#kernel = kernel;
		this.#source = source;
		const own: number[] = [];
		const childs: number[] = [];
		const pipe = (): readonly [read: number, write: number] => {
			const ends = this.#pipe();
			own.push(...ends);
			return ends;
		};
		try {
			const [output, outputEnd] = pipe();
			childs.push(outputEnd);
			this.#output = output;
			let inputEnd = feed ? undefined : source.wholeFile;
			if (inputEnd === undefined) {
				const [read, write] = pipe();
				childs.push(read);
				kernel.fcntl(write, F_SETFL, O_NONBLOCK);
				inputEnd = read;
				this.#input = write;
			}
			this.#child = spawn(program, ["-d", "-c"], { stdio: [inputEnd, outputEnd, "pipe"], env: {} });
		} catch (reason) {
			for (const fd of own) kernel.close(fd);
			throw reason;
		}
		for (const fd of childs) kernel.close(fd);
		this.#closed = once(this.#child, "close");
		// Looked at in finish(); until then a failed spawn must not count as unhandled.
		this.#closed.catch(() => undefined);
		this.#child.stderr?.on("data", (text: Buffer) => {
			if (this.#complaint.length < complaintLimit) this.#complaint += text.toString("latin1");
		});
	}

	/** Decompressed bytes, 0 at the end. Blocks; calls `idle` now and then while it waits. */
	read(buffer: Uint8Array, idle: () => void): number {
		while (this.#input !== undefined) if (this.#feed(this.#input, idle)) return this.#readOutput(buffer);
		return this.#readOutput(buffer);
	}

	/** After the end: DataLoss if the program was not content with its input. */
	async finish(): Promise<void> {
		const [code, signal] = await this.#closed;
		if (code !== 0)
			throw new DaemonError(
				"DataLoss",
				{ kind: "layer", id: this.#source.path },
				`gunzip failed (${signal ?? code}): ${this.#complaint.trim()}`,
			);
	}

	/** Ends the program, if it still runs, and waits for it. */
	async close(): Promise<void> {
		this.#closeInput();
		this.#kernel.close(this.#output);
		this.#child.kill("SIGKILL");
		await this.#closed.catch(() => undefined);
	}

	/** Gives the program input until it has output; says whether it has. */
	#feed(input: number, idle: () => void): boolean {
		if (this.#pendingStart === this.#pendingEnd) {
			const count = this.#source.read(this.#pending, 20);
			if (count === 0) {
				this.#closeInput();
				return true;
			}
			this.#pendingStart = 0;
			this.#pendingEnd = count ?? 0;
		}
		const hasInput = this.#pendingStart < this.#pendingEnd;
		const [readable, writable] = this.#poll(input, hasInput, hasInput ? 100 : 0);
		if (writable) this.#writeSome(input);
		if (!readable && !writable) idle();
		return readable;
	}

	#writeSome(input: number): void {
		try {
			const chunk = this.#pending.subarray(this.#pendingStart, this.#pendingEnd);
			this.#pendingStart += this.#kernel.write(input, chunk, chunk.length);
		} catch (reason) {
			// EPIPE: it has ended early; why, is said by its exit status.
			if (failedWith(reason, "EPIPE")) this.#closeInput();
			else if (!failedWith(reason, "EAGAIN")) throw reason;
		}
	}

	#poll(input: number, hasInput: boolean, timeoutMs: number): readonly [readable: boolean, writable: boolean] {
		const descriptors = Buffer.alloc(16);
		descriptors.writeInt32LE(this.#output, 0);
		descriptors.writeInt16LE(POLLIN, 4);
		descriptors.writeInt32LE(hasInput ? input : -1, 8);
		descriptors.writeInt16LE(POLLOUT, 12);
		const timeout = Buffer.alloc(16);
		timeout.writeBigInt64LE(BigInt(timeoutMs) * 1_000_000n, 8);
		this.#kernel.ppoll(addressOf(descriptors), 2, timeout, null);
		return [descriptors.readInt16LE(6) !== 0, descriptors.readInt16LE(14) !== 0];
	}

	#readOutput(buffer: Uint8Array): number {
		for (;;)
			try {
				return this.#kernel.read(this.#output, buffer, buffer.length);
			} catch (reason) {
				if (!failedWith(reason, "EINTR")) throw reason;
			}
	}

	#closeInput(): void {
		if (this.#input !== undefined) this.#kernel.close(this.#input);
		this.#input = undefined;
	}

	#pipe(): readonly [read: number, write: number] {
		const ends = Buffer.alloc(8);
		this.#kernel.pipe2(ends, O_CLOEXEC);
		const [read, write] = [ends.readInt32LE(0), ends.readInt32LE(4)];
		try {
			// Fewer switches between reader and writer.
			this.#kernel.fcntl(write, F_SETPIPE_SZ, pipeSize);
		} catch {
			// The system allows less: the pipe stays as it was made.
		}
		return [read, write];
	}
}
