import { stat } from "node:fs/promises";
import { Piscina } from "piscina";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { type Outcome, unwrap } from "./outcome.ts";

export interface JobPoolOptions {
	/** The entry file of its workers; see worker-entry.ts. */
	readonly entry: URL;
	/** Threads at most. */
	readonly threads: number;
	/** Threads without work end after this time, so that their memory returns. Default 2,000. */
	readonly idleMs?: number;
	/** Jobs that may wait for a thread; one more is refused with ResourceExhausted. Default 1,024. */
	readonly queue?: number;
	/** Told of what fails outside a job: a thread that dies. */
	readonly onError: (error: Error) => void;
}

/**
 * Threads for jobs that block. None exists until the first job. A job gets plain data and answers an {@link Outcome};
 * after it nothing of it may go on, because between jobs the thread sleeps.
 */
export class JobPool {
	readonly #options: JobPoolOptions;
	#pool: Piscina | undefined;
	#libuvPool: Promise<unknown> | undefined;
	#closed = false;

	constructor(options: JobPoolOptions) {
		this.#options = options;
	}

	/** Threads that exist now. */
	get threads(): number {
		return this.#pool?.threads.length ?? 0;
	}

	/** Jobs that wait for a thread. */
	get waiting(): number {
		return this.#pool?.queueSize ?? 0;
	}

	/**
	 * Runs a job. Rejects with the job's error, with ResourceExhausted when too many wait, with Internal when its thread
	 * dies, with Unavailable after {@link close}. Cancelling is the job's business (job-signals.ts): a thread that were
	 * killed in the middle would leave descriptors open.
	 */
	async run<T>(object: ObjectIdentity, job: unknown): Promise<T> {
		// Threads of libuv's pool inherit the namespaces and the umask of whoever makes the first asynchronous call in the
		// process: that must not be a worker, whose umask is 0.
		this.#libuvPool ??= stat("/");
		await this.#libuvPool;
		if (this.#closed) throw new DaemonError("Unavailable", object, "the workers are closed");
		this.#pool ??= this.#start();
		if (this.#pool.queueSize >= (this.#options.queue ?? 1024))
			throw new DaemonError("ResourceExhausted", object, "too many jobs wait for a worker");
		let outcome: Outcome<T>;
		try {
			outcome = (await this.#pool.run(job)) as Outcome<T>;
		} catch (reason) {
			throw DaemonError.from(reason, object, this.#closed ? "Unavailable" : "Internal");
		}
		return unwrap(outcome);
	}

	/** Waits for running jobs (cancel them first), then ends the threads. */
	async close(): Promise<void> {
		this.#closed = true;
		await this.#pool?.close();
	}

	#start(): Piscina {
		const { entry, threads, idleMs = 2_000 } = this.#options;
		const pool = new Piscina({
			filename: entry.href,
			minThreads: 0,
			maxThreads: threads,
			idleTimeout: idleMs,
			maxQueue: Number.POSITIVE_INFINITY,
			// Descriptors opened through FFI are closed through FFI; the jobs leave none.
			trackUnmanagedFds: false,
			recordTiming: false, // two histograms of 0.4 MB each, which nobody reads
		});
		// Without a listener a thread that dies without a job would end the daemon.
		pool.on("error", (error: Error) => this.#options.onError(error));
		return pool;
	}
}
