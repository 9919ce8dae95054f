import { rmSync } from "node:fs";
import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import { acceptUnix, connectUnix, listenUnix, receiveMessage, sendDescriptor } from "../src/sys/unix-socket.ts";
import { type Log, reasonOf } from "./log.ts";
import { within } from "./time.ts";

/**
 * Terminals (pty masters) in safe-keeping at the standby: when a shard dies with the only copy, the kernel hangs the
 * terminal up and its session dies. Descriptors travel as SCM_RIGHTS, which ttrpc cannot carry.
 */
export class TerminalStore {
	readonly #kernel: Kernel;
	readonly #path: string;
	readonly #log: Log;
	readonly #masters = new Map<string, number>();
	readonly #connections = new Map<number, Poll>();
	readonly #listener: number;
	readonly #poll: Poll;

	constructor(kernel: Kernel, path: string, log: Log) {
		this.#kernel = kernel;
		this.#path = path;
		this.#log = log;
		rmSync(path, { force: true }); // of a standby that was killed: the caller has made sure that he is the only one
		this.#listener = listenUnix(kernel, path);
		this.#poll = kernel.poll(this.#listener, () => this.#guard(() => this.#accept()));
		this.#poll.unref();
	}

	drop(key: string): void {
		const master = this.#masters.get(key);
		if (master !== undefined) this.#kernel.close(master);
		this.#masters.delete(key);
	}

	close(): void {
		this.#poll.close();
		this.#kernel.close(this.#listener);
		for (const connection of [...this.#connections.keys()]) this.#end(connection);
		for (const key of [...this.#masters.keys()]) this.drop(key);
		rmSync(this.#path, { force: true });
	}

	#accept(): void {
		const connection = acceptUnix(this.#kernel, this.#listener);
		const poll = this.#kernel.poll(connection, () => this.#guard(() => this.#serve(connection)));
		poll.unref();
		this.#connections.set(connection, poll);
	}

	/** One message a connection: `=key` with a descriptor keeps it, `?key` asks for it. */
	#serve(connection: number): void {
		const { bytes, descriptor } = receiveMessage(this.#kernel, connection);
		const key = bytes.toString("utf8", 1);
		if (bytes[0] === 0x3d && descriptor !== undefined) {
			this.drop(key);
			this.#masters.set(key, descriptor);
		} else if (bytes[0] === 0x3f) {
			const master = this.#masters.get(key);
			if (master === undefined) this.#kernel.write(connection, Buffer.from("-"), 1);
			else sendDescriptor(this.#kernel, connection, Buffer.from("+"), master);
		}
		this.#end(connection);
	}

	#end(connection: number): void {
		this.#connections.get(connection)?.close();
		this.#connections.delete(connection);
		this.#kernel.close(connection);
	}

	#guard(work: () => void): void {
		try {
			work();
		} catch (reason) {
			if (!failedWith(reason, "EAGAIN"))
				this.#log("warning", "a terminal could not be kept or given", { reason: reasonOf(reason) });
		}
	}
}

/** Gives the standby a copy of a terminal. Throws SysError if nobody listens. */
export function keepTerminal(kernel: Kernel, path: string, key: string, master: number): void {
	const connection = connectUnix(kernel, path);
	try {
		sendDescriptor(kernel, connection, Buffer.from(`=${key}`), master);
	} finally {
		kernel.close(connection);
	}
}

const answerMs = 2_000;

/** The terminal that was kept, or undefined. */
export async function takeTerminal(kernel: Kernel, path: string, key: string): Promise<number | undefined> {
	const connection = connectUnix(kernel, path);
	const question = Buffer.from(`?${key}`);
	kernel.write(connection, question, question.length);
	const { promise, resolve } = Promise.withResolvers<number | undefined>();
	const poll = kernel.poll(connection, () => {
		poll.close();
		resolve(receiveMessage(kernel, connection).descriptor);
	});
	const master = await within(answerMs, promise);
	poll.close();
	kernel.close(connection);
	return master;
}
