import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { failedWith } from "../src/sys/sys-error.ts";

type CopyCalls = Pick<Kernel, "read" | "write" | "poll">;

const chunk = 32 << 10;

/**
 * Copies from one descriptor to another in the main loop. Both must be non-blocking. It holds at most one chunk: while
 * the writer's side is full nothing is read. The descriptors stay the caller's; close the copier first.
 */
export class Copier {
	/** Resolves at the end of file, at the hang-up of a terminal (EIO), or when the other side is gone. */
	readonly ended: Promise<void>;
	readonly #kernel: CopyCalls;
	readonly #from: number;
	readonly #to: number | undefined;
	readonly #buffer = Buffer.alloc(chunk);
	#unwritten: Buffer = Buffer.alloc(0);
	#poll: Poll | undefined;
	#end: () => void = () => {};

	/** Without `to` it reads and forgets. */
	constructor(kernel: CopyCalls, from: number, to: number | undefined) {
		this.#kernel = kernel;
		this.#from = from;
		this.#to = to;
		this.ended = new Promise((resolve) => {
			this.#end = resolve;
		});
		this.#awaitInput();
	}

	close(): void {
		this.#poll?.close();
		this.#poll = undefined;
		this.#end();
	}

	#awaitInput(): void {
		this.#poll?.close();
		this.#poll = this.#kernel.poll(this.#from, () => this.#step(() => this.#read()));
		this.#poll.unref();
	}

	#read(): void {
		const length = this.#kernel.read(this.#from, this.#buffer, chunk);
		if (length === 0) this.close();
		else if (this.#to !== undefined) {
			this.#unwritten = this.#buffer.subarray(0, length);
			this.#write(this.#to);
		}
	}

	#write(to: number): void {
		try {
			while (this.#unwritten.length > 0) {
				const written = this.#kernel.write(to, this.#unwritten, this.#unwritten.length);
				this.#unwritten = this.#unwritten.subarray(written);
			}
		} catch (reason) {
			if (!failedWith(reason, "EAGAIN")) throw reason;
			this.#poll?.close();
			this.#poll = this.#kernel.poll(to, () => this.#step(() => this.#continue(to)), "writable");
			this.#poll.unref();
		}
	}

	#continue(to: number): void {
		this.#write(to);
		if (this.#unwritten.length === 0) this.#awaitInput();
	}

	#step(work: () => void): void {
		if (this.#poll === undefined) return;
		try {
			work();
		} catch (reason) {
			if (failedWith(reason, "EAGAIN", "EINTR")) return;
			// EIO: the last slave was closed (an end of file); EPIPE: nobody reads any more. Both end the copy.
			this.close();
			if (!failedWith(reason, "EIO", "EPIPE", "EBADF")) throw reason;
		}
	}
}
