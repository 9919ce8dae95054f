import type { JournalRecord, Value } from "./store.ts";

/** What one synced write makes durable, all or nothing. */
export interface Batch {
	/** Undefined deletes the key. */
	readonly changes: ReadonlyMap<string, Value | undefined>;
	/** With consecutive sequence numbers. */
	readonly journal: readonly JournalRecord[];
}

/** What an engine finds when it opens. */
export interface Contents {
	readonly entries: readonly (readonly [key: string, value: Value])[];
	readonly firstSeq: number;
	readonly lastSeq: number;
}

/** The durable side of a store. Batches arrive one at a time: the next only after the last has settled. */
export interface Engine {
	/**
	 * Resolves when the batch is on disk, with the oldest sequence number that the journal now keeps. Rejects with
	 * ResourceExhausted (disk full) or Unavailable; then it is open whether the batch will be found after a crash.
	 */
	commit(batch: Batch): Promise<{ readonly firstSeq: number }>;
	/** Records with since < seq <= until, oldest first, at most `limit`. */
	readJournal(since: number, until: number, limit: number): Promise<readonly JournalRecord[]>;
	close(): Promise<void>;
}
