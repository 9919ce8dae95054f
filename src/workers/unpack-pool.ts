import { availableParallelism } from "node:os";
import { DaemonError } from "../errors/daemon-error.ts";
import { igzipPath } from "./gunzip-filter.ts";
import { JobPool, type JobPoolOptions } from "./job-pool.ts";
import { cancel, jobSignals, progressOf } from "./job-signals.ts";
import type { UnpackJob } from "./unpack-job.ts";
import type { Unpacked, Unpacker, UnpackProgress, UnpackRequest } from "./unpacker.ts";
import { workerEntry } from "./worker-entry.ts";

export interface UnpackPoolOptions extends Pick<JobPoolOptions, "idleMs" | "queue" | "onError"> {
	/** Layers extracted at once. Default: one more than there are CPUs (one may wait for its download), at most 8. */
	readonly threads?: number;
	/** The program that decompresses gzip: default igzip where it is installed; "zlib" for Node's own. */
	readonly gunzip?: string;
}

/** How often progress is told. */
const progressMs = 200;
/** Media types of things that are surely no layer. */
const notALayer = /\.(config|manifest|index)\.|\.manifest\.|image\.index/;

/** The {@link Unpacker} on worker threads. */
export class UnpackPool implements Unpacker {
	readonly #pool: JobPool;
	readonly #gunzip: string | undefined;

	constructor({ threads = Math.min(8, availableParallelism() + 1), gunzip, ...options }: UnpackPoolOptions) {
		this.#pool = new JobPool({ entry: workerEntry("unpack"), threads, ...options });
		this.#gunzip = gunzip === "zlib" ? undefined : (gunzip ?? igzipPath);
	}

	/** Threads that exist now. */
	get threads(): number {
		return this.#pool.threads;
	}

	async unpack(
		request: UnpackRequest,
		{ onProgress, signal }: { onProgress?: (progress: UnpackProgress) => void; signal?: AbortSignal } = {},
	): Promise<Unpacked> {
		const object = { kind: "layer", id: request.targetDir };
		if (notALayer.test(request.mediaType))
			throw new DaemonError("InvalidArgument", object, `${request.mediaType} is not a layer`);
		if (signal?.aborted === true) throw new DaemonError("Canceled", object, "cancelled", { cause: signal.reason });
		const signals = jobSignals();
		const stop = (): void => cancel(signals);
		signal?.addEventListener("abort", stop, { once: true });
		const timer = onProgress && setInterval(() => onProgress(progressOf(signals)), progressMs);
		try {
			const job: UnpackJob = { request, signals, gunzip: this.#gunzip };
			return await this.#pool.run<Unpacked>(object, job);
		} finally {
			signal?.removeEventListener("abort", stop);
			clearInterval(timer);
		}
	}

	/** Waits for the jobs under way. */
	async close(): Promise<void> {
		await this.#pool.close();
	}
}
