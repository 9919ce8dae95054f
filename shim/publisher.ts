import { DaemonError } from "../src/errors/daemon-error.ts";
import { EventsDefinition } from "../src/gen/containerd/services/ttrpc/events/v1/events.ts";
import type { Any } from "../src/gen/google/protobuf/any.ts";
import { connect, type TtrpcClient } from "../src/ttrpc/client.ts";
import { type Log, reasonOf } from "./log.ts";
import { toTimestamp } from "./time.ts";

export interface Report {
	readonly namespace: string;
	/** `/tasks/exit` and the like. */
	readonly topic: string;
	readonly event: Any;
	/** Nanoseconds since 1970. */
	readonly at: bigint;
	/** Called once the daemon has made it durable. A report with it is never dropped. */
	readonly acknowledged?: () => void;
}

export interface PublisherOptions {
	/** Milliseconds for one attempt. Default 5,000, as the Go shim. */
	readonly timeoutMs?: number;
	/** Waits between attempts: from, and at most. Defaults 100 and 3,000 ms. */
	readonly backoffMs?: readonly [from: number, most: number];
	/** Reports without `acknowledged` that may wait; the oldest of a lane gives way. Default 2,048. */
	readonly maximumWaiting?: number;
}

interface Lane {
	readonly reports: Report[];
	running: boolean;
	/** Nobody wants its reports any more: no further attempt. */
	dropped: boolean;
}

/**
 * Tells the daemon what happens: `Events/Forward` to its ttrpc address, again and again until the daemon answers. The
 * answer is the acknowledgement. Order is kept within a lane (a container); lanes do not wait for each other.
 */
export class Publisher {
	readonly #address: string;
	readonly #log: Log;
	readonly #timeoutMs: number;
	readonly #backoff: readonly [number, number];
	readonly #maximumWaiting: number;
	readonly #lanes = new Map<string, Lane>();
	readonly #closing = new AbortController();
	#client: Promise<TtrpcClient> | undefined;
	/** Those who rest between two attempts, and those who wait for all to be acknowledged. */
	readonly #resting = new Set<() => void>();
	readonly #flushing = new Set<() => void>();
	#waiting = 0;
	#dropped = 0;

	constructor(address: string, log: Log, options: PublisherOptions = {}) {
		this.#address = address;
		this.#log = log;
		this.#timeoutMs = options.timeoutMs ?? 5_000;
		this.#backoff = options.backoffMs ?? [100, 3_000];
		this.#maximumWaiting = options.maximumWaiting ?? 2_048;
	}

	/** Reports that are not acknowledged yet. */
	get pending(): number {
		return this.#waiting;
	}

	publish(laneKey: string, report: Report): void {
		const lane = this.#lanes.get(laneKey) ?? { reports: [], running: false, dropped: false };
		this.#lanes.set(laneKey, lane);
		if (this.#waiting >= this.#maximumWaiting) this.#dropOne(lane);
		lane.reports.push(report);
		this.#waiting++;
		lane.dropped = false;
		if (!lane.running) void this.#run(laneKey, lane);
	}

	/** Tries again now what waits for its next attempt. Resolves when all is acknowledged, or after `ms`. */
	async flush(ms: number): Promise<number> {
		for (const wake of this.#resting) wake();
		if (this.#waiting > 0)
			await new Promise<void>((resolve) => {
				const done = () => {
					clearTimeout(timer);
					this.#flushing.delete(done);
					resolve();
				};
				const timer = setTimeout(done, ms);
				this.#flushing.add(done);
			});
		return this.#waiting;
	}

	/** Gives up what waits in a lane, and tells those who count on an acknowledgement. */
	drop(laneKey: string): void {
		const lane = this.#lanes.get(laneKey);
		if (lane === undefined) return;
		const [first, ...rest] = lane.reports.splice(0);
		if (first !== undefined) lane.reports.push(first); // it is being tried at this moment
		this.#waiting -= rest.length;
		for (const report of rest) report.acknowledged?.();
		lane.dropped = true;
		for (const wake of this.#resting) wake();
	}

	/** Ends attempts; what was not acknowledged stays in the journal. */
	async close(): Promise<void> {
		this.#closing.abort();
		for (const wake of this.#resting) wake();
		const client = await this.#client?.catch(() => undefined); // never connected: nothing to close
		client?.close();
	}

	async #run(key: string, lane: Lane): Promise<void> {
		lane.running = true;
		let wait = this.#backoff[0];
		for (let report = lane.reports[0]; report !== undefined; report = lane.reports[0]) {
			if (this.#closing.signal.aborted) return;
			const outcome = await this.#forward(report);
			if (outcome === "again" && !lane.dropped) {
				await this.#rest(wait);
				wait = Math.min(wait * 2, this.#backoff[1]);
				continue;
			}
			wait = this.#backoff[0];
			if (lane.reports[0] === report) lane.reports.shift();
			this.#waiting--;
			report.acknowledged?.();
		}
		lane.running = false;
		this.#lanes.delete(key);
		if (this.#waiting === 0) for (const done of this.#flushing) done();
	}

	async #forward(report: Report): Promise<"done" | "again"> {
		const { namespace, topic, event, at } = report;
		try {
			const client = await this.#connection();
			await client
				.service(EventsDefinition)
				.forward(
					{ envelope: { timestamp: toTimestamp(at), namespace, topic, event } },
					{ timeoutMs: this.#timeoutMs, namespace, signal: this.#closing.signal },
				);
			return "done";
		} catch (reason) {
			const refused =
				reason instanceof DaemonError && (reason.code === "InvalidArgument" || reason.code === "Unimplemented");
			if (refused)
				this.#log("error", "the daemon refuses a report; it is given up", { topic, reason: reasonOf(reason) });
			else this.#log("debug", "report not acknowledged", { topic, reason: reasonOf(reason) });
			return refused ? "done" : "again";
		}
	}

	#connection(): Promise<TtrpcClient> {
		this.#client ??= connect(this.#address, { timeoutMs: this.#timeoutMs }).then(
			(client) => {
				void client.closed.then(() => {
					this.#client = undefined;
				});
				return client;
			},
			(reason: unknown) => {
				this.#client = undefined;
				throw reason;
			},
		);
		return this.#client;
	}

	/** Until the next attempt is due or somebody asks for a flush. */
	#rest(ms: number): Promise<void> {
		return new Promise((resolve) => {
			const wake = () => {
				clearTimeout(timer);
				this.#resting.delete(wake);
				resolve();
			};
			const timer = setTimeout(wake, ms / 2 + (Math.random() * ms) / 2);
			this.#resting.add(wake);
		});
	}

	/** A daemon that is away for long must not fill the shim's memory; what must not be lost is kept all the same. */
	#dropOne(preferred: Lane): void {
		for (const lane of [preferred, ...this.#lanes.values()]) {
			const index = lane.reports.findIndex((report, place) => report.acknowledged === undefined && place > 0);
			if (index < 0) continue;
			lane.reports.splice(index, 1);
			this.#waiting--;
			if (this.#dropped++ % 100 === 0) this.#log("warning", "reports dropped", { dropped: this.#dropped });
			return;
		}
	}
}
