import { DaemonError } from "../../errors/daemon-error.ts";
import type { Batch, Contents, Engine } from "./engine.ts";
import { compareKeys, OrderedMap } from "./ordered-map.ts";
import type { Journal, JournalDraft, JournalRecord, Store, Transaction, Value } from "./store.ts";
import { stored } from "./value.ts";

/** One group commit: the changes of every transaction that shares it. */
interface Group {
	readonly changes: Map<string, Value | undefined>;
	readonly journal: JournalRecord[];
	readonly settled: PromiseWithResolvers<void>;
}

export interface TransactionalStoreOptions {
	/** Names the store in errors: its root directory. */
	readonly id: string;
	/** Nanoseconds since 1970. */
	readonly now?: () => bigint;
}

/**
 * The Store over any engine: transactions, group commit and reads from memory. At most two groups exist: one that the
 * engine is writing, and one that gathers what arrives meanwhile.
 */
export class TransactionalStore implements Store {
	readonly journal: Journal;
	readonly #engine: Engine;
	readonly #id: string;
	readonly #now: () => bigint;
	readonly #durable = new OrderedMap<Value>();
	readonly #listeners = new Set<(records: readonly JournalRecord[]) => void>();
	/** Keys of a failed batch, with their durable values: what is on disk is uncertain until they are written again. */
	readonly #uncertain = new Map<string, Value | undefined>();
	#writing: Group | undefined;
	#gathering: Group | undefined;
	#firstSeq: number;
	#lastSeq: number;
	#closing: Promise<void> | undefined;

	constructor(engine: Engine, contents: Contents, { id, now = nanosecondsNow }: TransactionalStoreOptions) {
		this.#engine = engine;
		this.#id = id;
		this.#now = now;
		for (const [key, value] of contents.entries) this.#durable.set(key, stored(value));
		this.#firstSeq = contents.firstSeq;
		this.#lastSeq = contents.lastSeq;
		const store = this;
		this.journal = {
			get last() {
				return store.#lastSeq;
			},
			get first() {
				return store.#firstSeq;
			},
			read: (since, limit) => store.#readJournal(since, limit),
			subscribe(listener) {
				const own = (records: readonly JournalRecord[]): void => listener(records);
				store.#listeners.add(own);
				return () => store.#listeners.delete(own);
			},
		};
	}

	get(key: string): Value | undefined {
		return this.#durable.get(key);
	}

	entries(prefix: string): Iterable<readonly [key: string, value: Value]> {
		return this.#durable.keys(prefix).flatMap((key) => entry(key, this.#durable.get(key)));
	}

	async update<T>(change: (transaction: Transaction) => T): Promise<T> {
		if (this.#closing !== undefined) throw this.#problem("Unavailable", "the store is closed");
		const changes = new Map<string, Value | undefined>();
		const drafts: JournalDraft[] = [];
		const result = change(this.#transaction(changes, drafts));
		const unchanged = changes.size === 0 && drafts.length === 0;
		// what a reader saw may still be on its way to the disk
		const group = unchanged ? (this.#gathering ?? this.#writing) : this.#stage(changes, drafts);
		await group?.settled.promise;
		return result;
	}

	close(): Promise<void> {
		this.#closing ??= this.#drain().then(() => this.#engine.close());
		return this.#closing;
	}

	#transaction(changes: Map<string, Value | undefined>, drafts: JournalDraft[]): Transaction {
		const layers = [changes, this.#gathering?.changes, this.#writing?.changes].filter((layer) => layer !== undefined);
		const get = (key: string): Value | undefined => {
			const layer = layers.find((candidate) => candidate.has(key));
			return layer === undefined ? this.#durable.get(key) : layer.get(key);
		};
		return {
			get,
			entries: (prefix) => {
				const keys = new Set(this.#durable.keys(prefix));
				const known = keys.size;
				for (const layer of layers) for (const key of layer.keys()) if (key.startsWith(prefix)) keys.add(key);
				const sorted = keys.size === known ? [...keys] : [...keys].sort(compareKeys);
				return sorted.flatMap((key) => entry(key, get(key)));
			},
			put: (key, value) => {
				if (key === "" || !key.isWellFormed()) throw this.#problem("InvalidArgument", `bad key ${JSON.stringify(key)}`);
				changes.set(key, stored(value));
			},
			delete: (key) => {
				changes.set(key, undefined);
			},
			record: (draft) => {
				drafts.push({ ...draft, body: stored(draft.body) });
			},
		};
	}

	#stage(changes: ReadonlyMap<string, Value | undefined>, drafts: readonly JournalDraft[]): Group {
		let group = this.#gathering;
		if (group === undefined) {
			group = { changes: new Map(), journal: [], settled: Promise.withResolvers() };
			this.#gathering = group;
			// everything of this turn shares the batch
			if (this.#writing === undefined) queueMicrotask(() => this.#writeNext());
		}
		for (const [key, value] of changes) group.changes.set(key, value);
		const before = this.#lastSeq + (this.#writing?.journal.length ?? 0) + group.journal.length;
		const time = this.#now();
		for (const [index, draft] of drafts.entries())
			group.journal.push(Object.freeze({ ...draft, seq: before + index + 1, time }));
		return group;
	}

	#writeNext(): void {
		if (this.#writing !== undefined || this.#gathering === undefined) return;
		const group = this.#gathering;
		this.#writing = group;
		this.#gathering = undefined;
		const batch: Batch = { changes: new Map([...this.#uncertain, ...group.changes]), journal: group.journal };
		this.#engine.commit(batch).then(
			({ firstSeq }) => this.#committed(group, firstSeq),
			(reason: unknown) => this.#refused(group, reason),
		);
	}

	#committed(group: Group, firstSeq: number): void {
		for (const [key, value] of group.changes) {
			if (value === undefined) this.#durable.delete(key);
			else this.#durable.set(key, value);
		}
		this.#uncertain.clear();
		this.#lastSeq += group.journal.length;
		this.#firstSeq = firstSeq;
		this.#writing = undefined;
		group.settled.resolve();
		if (group.journal.length > 0) for (const listener of [...this.#listeners]) listener(group.journal);
		this.#writeNext();
	}

	/** What was staged after the refused batch had seen its changes, so it is refused with it. */
	#refused(group: Group, reason: unknown): void {
		const error = DaemonError.from(reason, { kind: "store", id: this.#id }, "Unavailable");
		for (const key of group.changes.keys()) this.#uncertain.set(key, this.#durable.get(key));
		const later = this.#gathering;
		this.#writing = undefined;
		this.#gathering = undefined;
		group.settled.reject(error);
		later?.settled.reject(error);
	}

	async #drain(): Promise<void> {
		for (let group = this.#gathering ?? this.#writing; group !== undefined; group = this.#gathering ?? this.#writing)
			await group.settled.promise.catch(() => undefined); // whoever staged it was told
	}

	async #readJournal(since: number, limit: number): Promise<readonly JournalRecord[]> {
		const until = this.#lastSeq;
		if (since >= until || limit <= 0) return [];
		return this.#engine.readJournal(Math.max(since, this.#firstSeq - 1), until, limit);
	}

	#problem(code: "Unavailable" | "InvalidArgument", problem: string): DaemonError {
		return new DaemonError(code, { kind: "store", id: this.#id }, problem);
	}
}

const entry = (key: string, value: Value | undefined): [readonly [string, Value]] | [] =>
	value === undefined ? [] : [[key, value]];

const nanosecondsNow = (): bigint => BigInt(Date.now()) * 1_000_000n;
