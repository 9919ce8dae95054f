import type { HoldRequest } from "../src/gen/troupe/shim/v1/shim.ts";
import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { exitOfStranger, openPidfd, startTimeOf } from "../src/sys/pidfd.ts";
import type { Exit } from "./exit.ts";
import { isFifo, openFifo } from "./fifo.ts";
import { now, pause } from "./time.ts";

const lookAgainMs = 20;
const witnessMs = 2_000;

/**
 * One process that the standby holds for a shard: a pidfd that pins it and tells its exit on kernels from 6.15, and its
 * FIFOs, so that the shard's death is neither an end of file on stdin nor a broken pipe on stdout.
 */
export class Witness {
	readonly namespace: string;
	readonly containerId: string;
	readonly execId: string;
	readonly pid: number;
	readonly bundle: string;
	/** The shard that looks after the process; changes when it is adopted. */
	shard: string;
	/** Once the standby has seen it. */
	exit: Exit | undefined;
	readonly #kernel: Kernel;
	readonly #fifos: number[] = [];
	#stdin: number | undefined;
	#pidfd: number | undefined;
	#poll: Poll | undefined;

	constructor(kernel: Kernel, request: HoldRequest) {
		this.#kernel = kernel;
		this.namespace = request.namespace;
		this.containerId = request.containerId;
		this.execId = request.execId;
		this.pid = request.pid;
		this.bundle = request.bundle;
		this.shard = request.shardId;
		this.#pidfd = openPidfd(kernel, request.pid);
		if (this.#pidfd !== undefined && BigInt(startTimeOf(request.pid) ?? 0) !== request.startTime) this.#closePidfd();
		if (isFifo(request.stdin)) this.#stdin = openFifo(kernel, request.stdin, true);
		for (const path of new Set([request.stdout, request.stderr]))
			if (isFifo(path)) this.#fifos.push(openFifo(kernel, path, true));
	}

	/** The process exists, or is a zombie. */
	get there(): boolean {
		return this.#pidfd !== undefined;
	}

	/**
	 * The shard is dead: calls back once with the exit of a process that is not a child of ours (its shard was another
	 * standby's). For our own children the reaper is faster and `exit` is set by then.
	 */
	watch(seen: (exit: Exit) => void): void {
		const pidfd = this.#pidfd;
		if (pidfd === undefined) {
			seen(this.#exit(undefined));
			return;
		}
		this.#poll ??= this.#kernel.poll(pidfd, () => {
			this.#poll?.close();
			void this.#learn(pidfd, seen);
		});
		this.#poll.unref();
	}

	releaseStdin(): void {
		if (this.#stdin !== undefined) this.#kernel.close(this.#stdin);
		this.#stdin = undefined;
	}

	releaseStdio(): void {
		this.releaseStdin();
		for (const descriptor of this.#fifos.splice(0)) this.#kernel.close(descriptor);
	}

	close(): void {
		this.releaseStdio();
		this.#closePidfd();
	}

	async #learn(pidfd: number, seen: (exit: Exit) => void): Promise<void> {
		const until = Date.now() + witnessMs;
		for (; this.exit === undefined && this.#pidfd !== undefined && Date.now() < until; await pause(lookAgainMs)) {
			const status = exitOfStranger(this.#kernel, pidfd, this.pid);
			if (status !== undefined) return seen(this.#exit(status));
		}
		if (this.exit === undefined && this.#pidfd !== undefined) seen(this.#exit(undefined));
	}

	#exit(status: number | undefined): Exit {
		const { containerId, execId, pid } = this;
		return { containerId, execId, pid, status: status ?? 255, at: now(), unknown: status === undefined };
	}

	#closePidfd(): void {
		this.#poll?.close();
		if (this.#pidfd !== undefined) this.#kernel.close(this.#pidfd);
		this.#pidfd = undefined;
	}
}
