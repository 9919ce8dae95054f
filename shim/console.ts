import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import { acceptUnix, listenUnix, receiveMessage } from "../src/sys/unix-socket.ts";

const TIOCSWINSZ = 0x5414;

let sockets = 0;

/** Where the OCI runtime sends the master of a pty (`--console-socket`). */
export class ConsoleSocket {
	readonly path: string;
	/** The master, close-on-exec. Rejects when the socket is closed first. */
	readonly master: Promise<number>;
	readonly #kernel: Kernel;
	readonly #open = new Map<number, Poll>();
	#reject: (reason: Error) => void = () => {};

	/** `directory` must be short: a socket's path has at most 107 bytes, and bundles' are longer. */
	constructor(kernel: Kernel, directory: string) {
		this.#kernel = kernel;
		this.path = join(directory, `c-${process.pid}-${++sockets}`);
		rmSync(this.path, { force: true }); // of a killed shim that had this pid
		const listener = listenUnix(kernel, this.path);
		this.master = new Promise((resolve, reject) => {
			this.#reject = reject;
			this.#watch(listener, () => {
				const connection = acceptUnix(kernel, listener);
				this.#watch(connection, () => {
					const { descriptor } = receiveMessage(kernel, connection);
					if (descriptor === undefined) reject(new Error("the OCI runtime sent no terminal"));
					else resolve(descriptor);
					this.close();
				});
			});
		});
		this.master.catch(() => {}); // a runtime that failed has told why
	}

	close(): void {
		for (const [descriptor, poll] of this.#open) {
			poll.close();
			this.#kernel.close(descriptor);
		}
		this.#open.clear();
		rmSync(this.path, { force: true });
		this.#reject(new Error("the OCI runtime sent no terminal"));
	}

	#watch(descriptor: number, ready: () => void): void {
		const poll = this.#kernel.poll(descriptor, () => {
			try {
				ready();
			} catch (reason) {
				if (failedWith(reason, "EAGAIN")) return;
				this.#reject(reason as Error);
				this.close();
			}
		});
		this.#open.set(descriptor, poll);
	}
}

/** ioctl_tty(2) */
export function resize(kernel: Pick<Kernel, "ioctl">, master: number, width: number, height: number): void {
	const size = Buffer.alloc(8); // struct winsize: rows, columns, and two that nobody uses
	size.writeUInt16LE(height & 0xffff, 0);
	size.writeUInt16LE(width & 0xffff, 2);
	kernel.ioctl(master, TIOCSWINSZ, size);
}
