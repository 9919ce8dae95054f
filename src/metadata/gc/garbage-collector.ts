import { DaemonError } from "../../errors/daemon-error.ts";
import type { LeaseStore } from "../leases.ts";
import type { JournalRecord } from "../store/store.ts";
import { type Collection, type CollectionParts, collect } from "./collect.ts";
import { hasExpired } from "./expiry.ts";

/** The section `[plugins."io.containerd.gc.v1.scheduler"]`; names and defaults are containerd's. */
export interface GarbageCollectorPolicy {
	/** Part of the time that collections started by themselves may hold the metadata; at most 0.5. Default 0.02. */
	readonly pauseThreshold: number;
	/** Deletions that start a collection; 0: the next deletion after a pause does. Default 0. */
	readonly deletionThreshold: number;
	/** Changes that start a collection even without deletions; 0 for never. Default 100. */
	readonly mutationThreshold: number;
	/** From the reason for a collection to its start, in milliseconds. Default 0. */
	readonly scheduleDelayMs: number;
	/** From the daemon's start to the first collection, in milliseconds. Default 100. */
	readonly startupDelayMs: number;
}

export const defaultPolicy: GarbageCollectorPolicy = {
	pauseThreshold: 0.02,
	deletionThreshold: 0,
	mutationThreshold: 100,
	scheduleDelayMs: 0,
	startupDelayMs: 100,
};

/** When things are due, so that tests need not wait. */
export interface CollectorTime {
	/** Milliseconds from an arbitrary start; never goes back. */
	now(): number;
	/** Runs the callback once, after `ms` milliseconds; keeps no process alive. The returned function cancels it. */
	after(ms: number, run: () => void): () => void;
}

const systemTime: CollectorTime = {
	now: () => performance.now(),
	after(ms, run) {
		const timer = setTimeout(run, Math.min(ms, longestTimerMs));
		timer.unref();
		return () => clearTimeout(timer);
	},
};
/** A longer timer of Node's would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

export interface GarbageCollectorOptions extends CollectionParts {
	/** Whose deletions are a reason to collect; those of other objects are seen in the journal. */
	readonly leases?: Pick<LeaseStore, "watchDeletions">;
	readonly policy?: Partial<GarbageCollectorPolicy>;
	readonly time?: CollectorTime;
	/** Told of each collection that has ended. */
	readonly onCollection?: (collection: Collection) => void;
	/** Told of each that has failed; it is tried again. */
	readonly onError?: (error: DaemonError) => void;
}

const deletion = /^\/(?:images|containers|content|snapshot)\/(?:delete|remove)$/;
const mutation = /^\/(?:images|containers|content|snapshot|namespaces)\//;
/** Shortest time between two collections that deletions start, so that the average is not zero. */
const leastPauseMs = 5;
const expiryCheckMs = 60_000;

/**
 * Collects what nothing refers to: when asked, some time after deletions, and once after the start. One collection at a
 * time; who asks during one gets the next, shared by all who asked.
 */
export class GarbageCollector {
	readonly #options: GarbageCollectorOptions;
	readonly #policy: GarbageCollectorPolicy;
	readonly #stop = new AbortController();
	readonly #unsubscribe: readonly (() => void)[];
	#running: Promise<Collection> | undefined;
	#next: Promise<Collection> | undefined;
	readonly #time: CollectorTime;
	#timer: { readonly due: number; readonly cancel: () => void } | undefined;
	#cancelExpiryCheck: () => void = () => undefined;
	#deletions = 0;
	#mutations = 0;
	/** No collection by itself before this time (milliseconds of the time above). */
	#restUntil = 0;
	#pauses = { totalMs: 0, count: 0 };

	constructor(options: GarbageCollectorOptions) {
		this.#options = options;
		this.#policy = { ...defaultPolicy, ...options.policy };
		this.#time = options.time ?? systemTime;
		this.#unsubscribe = [
			options.store.journal.subscribe((records) => this.#notice(records)),
			options.leases?.watchDeletions(this.deleted) ?? (() => undefined),
		];
		this.#restUntil = this.#time.now() + this.#policy.startupDelayMs;
		this.#schedule(this.#policy.startupDelayMs);
		this.#lookForExpiredLater();
	}

	/**
	 * One whole collection that begins after this call; resolves when the space is free. The signal ends the waiting, not
	 * the collection. Errors: those of the backends; Canceled.
	 */
	async runOnce(signal: AbortSignal): Promise<Collection> {
		signal.throwIfAborted();
		const aborted = Promise.withResolvers<never>();
		const abort = (): void => aborted.reject(DaemonError.from(signal.reason, identity));
		signal.addEventListener("abort", abort, { once: true });
		try {
			return await Promise.race([this.#start(), aborted.promise]);
		} catch (reason) {
			throw DaemonError.from(reason, identity);
		} finally {
			signal.removeEventListener("abort", abort);
		}
	}

	/** Something was deleted of which no event tells (a lease): a collection may find something. */
	readonly deleted = (): void => {
		this.#deletions++;
		this.#consider();
	};

	/** Ends a collection under way at its next step, and waits for that. */
	async stop(): Promise<void> {
		for (const unsubscribe of this.#unsubscribe) unsubscribe();
		this.#timer?.cancel();
		this.#cancelExpiryCheck();
		this.#stop.abort();
		await this.#running?.catch(() => undefined);
	}

	#start(): Promise<Collection> {
		// The next one has its turn first, also in the moment between the end of one and its start.
		if (this.#next !== undefined) return this.#next;
		if (this.#running === undefined) return this.#run();
		this.#next = this.#running
			.catch(() => undefined) // whoever asked for that one is told
			.then(() => {
				this.#next = undefined;
				return this.#run();
			});
		return this.#next;
	}

	#run(): Promise<Collection> {
		this.#timer?.cancel();
		this.#timer = undefined;
		this.#deletions = 0;
		this.#mutations = 0;
		const running = collect(this.#options, this.#stop.signal);
		this.#running = running;
		running.then(
			(collection) => this.#ended(collection),
			(reason: unknown) => this.#failed(reason),
		);
		return running;
	}

	#ended(collection: Collection): void {
		this.#running = undefined;
		// its own events are no reason for another
		const own = collection.removed.filter(({ kind }) => kind === "image" || kind === "snapshot").length;
		this.#deletions -= own;
		this.#mutations -= own;
		const { pauseThreshold } = this.#policy;
		this.#pauses = { totalMs: this.#pauses.totalMs + collection.pauseMs, count: this.#pauses.count + 1 };
		const average = Math.max(leastPauseMs, this.#pauses.totalMs / this.#pauses.count);
		const part = Math.min(0.5, Math.max(0, pauseThreshold));
		this.#restUntil = this.#time.now() + (part === 0 ? 1_000 : average / part - average);
		this.#options.onCollection?.(collection);
		this.#consider();
	}

	#failed(reason: unknown): void {
		this.#running = undefined;
		if (this.#stop.signal.aborted) return;
		this.#options.onError?.(DaemonError.from(reason, identity));
		this.#restUntil = this.#time.now() + 1_000;
		this.#deletions++;
		this.#consider();
	}

	#notice(records: readonly JournalRecord[]): void {
		for (const { kind, subject } of records) {
			if (kind !== "event") continue;
			if (deletion.test(subject)) this.#deletions++;
			if (mutation.test(subject)) this.#mutations++;
		}
		this.#consider();
	}

	/** Nothing happens when a lease, an image or an ingest expires. */
	#lookForExpiredLater(): void {
		this.#cancelExpiryCheck = this.#time.after(expiryCheckMs, () => {
			this.#lookForExpiredLater();
			const { store, now } = this.#options;
			if (hasExpired(store, now())) this.deleted();
		});
	}

	#consider(): void {
		const { deletionThreshold, mutationThreshold, scheduleDelayMs } = this.#policy;
		if (this.#deletions <= 0 && (mutationThreshold <= 0 || this.#mutations < mutationThreshold)) return;
		const now = this.#time.now();
		const enough = deletionThreshold > 0 && this.#deletions >= deletionThreshold;
		this.#schedule(Math.max(scheduleDelayMs, enough ? 0 : this.#restUntil - now));
	}

	/** Unless one is due before that. */
	#schedule(delayMs: number): void {
		if (this.#running !== undefined || this.#stop.signal.aborted) return;
		const due = this.#time.now() + delayMs;
		if (this.#timer !== undefined && this.#timer.due <= due) return;
		this.#timer?.cancel();
		const run = (): void => {
			this.#timer = undefined;
			this.#start().catch(() => undefined); // onError was told
		};
		this.#timer = { due, cancel: this.#time.after(delayMs, run) };
	}
}

const identity = { kind: "garbage collector", id: "metadata" };
