import type { DiskUsage } from "../diff/disk-usage.ts";
import type { Mount } from "../sys/mounts.ts";
import { JobPool, type JobPoolOptions } from "./job-pool.ts";
import { cancel, jobSignals } from "./job-signals.ts";
import type { TreeJob } from "./tree-job.ts";
import { workerEntry } from "./worker-entry.ts";

/** Removes and measures trees, mounts and unmounts, all off the event loop. Errors are DaemonErrors. */
export interface Trees {
	/** Removes a path and all below it; nothing there is no error. Cancelled, it leaves a part. */
	remove(path: string, signal?: AbortSignal): Promise<void>;
	usage(path: string, signal?: AbortSignal): Promise<DiskUsage>;
	/** inherit-directories.ts */
	inherit(layer: string, lowers: readonly string[], paths: readonly Uint8Array[]): Promise<void>;
	/** Mounts one after the other on an existing directory; all or none. */
	mount(mounts: readonly Mount[], target: string): Promise<void>;
	/** Detaches all that is mounted on the target; nothing there is no error. */
	unmount(target: string): Promise<void>;
}

export interface TreePoolOptions extends Pick<JobPoolOptions, "idleMs" | "queue" | "onError"> {
	/** Default 2: one may be busy with a long removal. */
	readonly threads?: number;
}

/** {@link Trees} on worker threads. */
export class TreePool implements Trees {
	readonly #pool: JobPool;

	constructor({ threads = 2, ...options }: TreePoolOptions) {
		this.#pool = new JobPool({ entry: workerEntry("tree"), threads, ...options });
	}

	async remove(path: string, signal?: AbortSignal): Promise<void> {
		await this.#cancellable("remove", path, signal);
	}

	async usage(path: string, signal?: AbortSignal): Promise<DiskUsage> {
		const usage = await this.#cancellable("usage", path, signal);
		return usage ?? { size: 0n, inodes: 0n };
	}

	async inherit(layer: string, lowers: readonly string[], paths: readonly Uint8Array[]): Promise<void> {
		await this.#run({ kind: "inherit", layer, lowers, paths }, layer);
	}

	async mount(mounts: readonly Mount[], target: string): Promise<void> {
		await this.#run({ kind: "mount", mounts, target }, target);
	}

	async unmount(target: string): Promise<void> {
		await this.#run({ kind: "unmount", target }, target);
	}

	/** Waits for the jobs under way. */
	async close(): Promise<void> {
		await this.#pool.close();
	}

	#run(job: TreeJob, id: string): Promise<DiskUsage | undefined> {
		return this.#pool.run<DiskUsage | undefined>({ kind: job.kind, id }, job);
	}

	async #cancellable(kind: "remove" | "usage", path: string, signal?: AbortSignal): Promise<DiskUsage | undefined> {
		const signals = jobSignals();
		const stop = (): void => cancel(signals);
		if (signal?.aborted === true) stop();
		signal?.addEventListener("abort", stop, { once: true });
		try {
			return await this.#run({ kind, path, signals }, path);
		} finally {
			signal?.removeEventListener("abort", stop);
		}
	}
}
