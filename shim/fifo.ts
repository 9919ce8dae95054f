import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Kernel } from "../src/sys/kernel.ts";
import { failedWith } from "../src/sys/sys-error.ts";

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_APPEND = 0o2000;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const FIONREAD = 0x541b;
const F_GETFL = 3;
const F_SETFL = 4;

export const isFifo = (path: string): boolean => {
	try {
		return statSync(path).isFIFO();
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ENOTDIR")) return false;
		throw reason;
	}
};

/**
 * Both ends of a client's FIFO: never waits for a reader, no SIGPIPE in the container when the reader leaves, and what
 * was written waits for the next one. Not non-blocking where the container gets it: the flag belongs to the open file.
 */
export const openFifo = (kernel: Pick<Kernel, "open">, path: string, nonBlocking: boolean): number =>
	kernel.open(path, O_RDWR | O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0), 0);

/** The container's side of stdin: read-only, so that closing every writer is an end of file. Needs an open writer. */
export const openFifoForReading = (kernel: Pick<Kernel, "open">, path: string): number =>
	kernel.open(path, O_RDONLY | O_CLOEXEC, 0);

/** A log file: appended to, made if missing, its directory too. */
export function openLogFile(kernel: Pick<Kernel, "open">, path: string): number {
	mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
	return kernel.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644);
}

/** Bytes that wait in a pipe for a reader. */
export function unreadBytes(kernel: Pick<Kernel, "ioctl">, descriptor: number): number {
	const count = Buffer.alloc(4);
	kernel.ioctl(descriptor, FIONREAD, count);
	return count.readInt32LE();
}

export function makeNonBlocking(kernel: Pick<Kernel, "fcntl">, descriptor: number): void {
	kernel.fcntl(descriptor, F_SETFL, kernel.fcntl(descriptor, F_GETFL, 0) | O_NONBLOCK);
}
