import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { Batch, Engine } from "./engine.ts";
import { decodeRow, encodeRow } from "./journal-codec.ts";
import type { JournalRecord, Store, Value } from "./store.ts";
import { TransactionalStore } from "./transactional-store.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";
import type {
	Committed,
	JournalLimits,
	JournalRow,
	Opened,
	WorkerAnswer,
	WorkerOptions,
	WorkerRequest,
} from "./worker-protocol.ts";

export interface RocksStoreOptions {
	/** Made with mode 0700 if absent; owned by one store at a time. */
	readonly directory: string;
	/** Default: 100,000 records, 24 hours. */
	readonly journal?: JournalLimits;
	/** Nanoseconds since 1970. */
	readonly now?: () => bigint;
}

const defaultJournal: JournalLimits = { maxRecords: 100_000, maxAgeMs: 24 * 60 * 60 * 1000 };

/**
 * Opens the durable store. FailedPrecondition: another daemon has it, or a newer one wrote it. DataLoss: it is damaged.
 * Unavailable, ResourceExhausted: the disk refuses.
 */
export async function openRocksStore(options: RocksStoreOptions): Promise<Store> {
	const { directory, journal = defaultJournal, now } = options;
	const entries: [string, Value][] = [];
	const engine = new WorkerEngine({ directory, journal }, (rows) => {
		for (const [key, text] of rows) entries.push([key, decodeValue(text)]);
	});
	try {
		const opened = await engine.open();
		return new TransactionalStore(engine, { entries, ...opened }, { id: directory, ...(now && { now }) });
	} catch (reason) {
		await engine.terminate();
		throw DaemonError.from(reason, { kind: "store", id: directory }, "DataLoss");
	}
}

/** In the shipped bundle the worker lies beside it, compiled; in the source tree it runs as it is. */
const workerFile = (): URL =>
	new URL(import.meta.url.endsWith(".ts") ? "./store.worker.ts" : "./store.worker.mjs", import.meta.url);

class WorkerEngine implements Engine {
	readonly #worker: Worker;
	readonly #directory: string;
	readonly #open = new Map<number, PromiseWithResolvers<unknown>>();
	#lastId = 0;
	#ended: DaemonError | undefined;

	constructor(options: WorkerOptions, onEntries: (rows: readonly (readonly [string, string])[]) => void) {
		this.#directory = options.directory;
		this.#worker = new Worker(workerFile(), { workerData: options, name: "store" });
		this.#worker.on("message", (answer: WorkerAnswer) => {
			if (answer.type === "entries") return onEntries(answer.rows);
			const request = this.#open.get(answer.id);
			this.#open.delete(answer.id);
			if (answer.type === "done") request?.resolve(answer.result);
			else request?.reject(DaemonError.fromRecord(answer.error));
		});
		this.#worker.on("error", (reason) => this.#end(`its thread failed: ${reason}`, { cause: reason }));
		this.#worker.on("exit", (code) => this.#end(`its thread has ended with code ${code}`));
	}

	async open(): Promise<Opened> {
		return (await this.#ask({ type: "open" })) as Opened;
	}

	async commit({ changes, journal }: Batch): Promise<Committed> {
		const encoded = Array.from(
			changes,
			([key, value]) => [key, value === undefined ? null : encodeValue(value)] as const,
		);
		return (await this.#ask({ type: "commit", changes: encoded, journal: journal.map(encodeRow) })) as Committed;
	}

	async readJournal(since: number, until: number, limit: number): Promise<readonly JournalRecord[]> {
		const rows = await this.#ask({ type: "read", since, until, limit });
		return (rows as readonly JournalRow[]).map(decodeRow);
	}

	async close(): Promise<void> {
		const exited = once(this.#worker, "exit");
		await this.#ask({ type: "close" });
		await exited;
	}

	async terminate(): Promise<void> {
		await this.#worker.terminate();
	}

	#ask(request: WorkerRequest): Promise<unknown> {
		if (this.#ended !== undefined) return Promise.reject(this.#ended);
		const id = ++this.#lastId;
		const answer = Promise.withResolvers<unknown>();
		this.#open.set(id, answer);
		this.#worker.postMessage({ id, request });
		return answer.promise;
	}

	#end(problem: string, options?: ErrorOptions): void {
		this.#ended ??= new DaemonError("Unavailable", { kind: "store", id: this.#directory }, problem, options);
		for (const request of this.#open.values()) request.reject(this.#ended);
		this.#open.clear();
	}
}
