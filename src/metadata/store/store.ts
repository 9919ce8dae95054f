/**
 * The durable heart of the daemon: an ordered map of plain values and a journal, changed in transactions. One process
 * writes; reads are served from memory. `store.test-suite.ts` is the contract that every engine must pass.
 */

/** Plain data: what JSON carries, plus bytes. Stored values are frozen; change them by putting a new one. */
export type Value =
	| null
	| boolean
	| number
	| string
	| bigint
	| Uint8Array
	| readonly Value[]
	| { readonly [name: string]: Value | undefined };

/** One thing that happened, before it has its place in the journal. */
export interface JournalDraft {
	/** `event`: something a subscriber of the event service sees. `transition`: an actor's step. */
	readonly kind: "event" | "transition";
	/** Empty for what belongs to no namespace. */
	readonly namespace: string;
	/** An event's topic (`/tasks/exit`) or the actor's path (`/task-manager/default/web`). */
	readonly subject: string;
	readonly body: Value;
}

export interface JournalRecord extends JournalDraft {
	/** Rises by one with each record, for ever; the first is 1. */
	readonly seq: number;
	/** Nanoseconds since 1970, taken when the record was staged. */
	readonly time: bigint;
}

export interface Reader {
	get(key: string): Value | undefined;
	/** Entries whose key starts with the prefix, in the order of their keys (UTF-8 bytes). */
	entries(prefix: string): Iterable<readonly [key: string, value: Value]>;
}

export interface Transaction extends Reader {
	put(key: string, value: Value): void;
	delete(key: string): void;
	/** Appends to the journal, in the same atomic batch. */
	record(draft: JournalDraft): void;
}

export interface Journal {
	/** Sequence number of the newest durable record; 0 for none. */
	readonly last: number;
	/** Sequence number of the oldest record still kept. */
	readonly first: number;
	/** Durable records with seq > since, oldest first, at most `limit`. */
	read(since: number, limit: number): Promise<readonly JournalRecord[]>;
	/**
	 * Called with the records of each durable batch, in order, after the transaction's promise may settle. Must not throw.
	 * Returns the unsubscribe function. Reading up to `last` and subscribing in one turn leaves no gap.
	 */
	subscribe(listener: (records: readonly JournalRecord[]) => void): () => void;
}

/** Outside a transaction a reader sees what is durable. */
export interface Store extends Reader {
	readonly journal: Journal;
	/**
	 * Runs `change` at once and synchronously; it sees everything staged before it. If it throws, nothing of it is kept and
	 * the promise rejects with that error. Otherwise the promise resolves, with its result, once the changes are on disk.
	 * Changes that arrive while a batch is being synced share the next one. If the disk refuses, the promise rejects with
	 * Unavailable (ResourceExhausted for a full disk), and so do all changes staged after it.
	 */
	update<T>(change: (transaction: Transaction) => T): Promise<T>;
	/** Waits for what is staged, then closes. */
	close(): Promise<void>;
}
