import type { Batch, Engine } from "./engine.ts";
import type { JournalRecord, Store } from "./store.ts";
import { TransactionalStore } from "./transactional-store.ts";

export interface MemoryStoreOptions {
	/** Awaited before each batch counts as durable: tests hold it back, or let it fail. */
	readonly beforeCommit?: (batch: Batch) => Promise<void> | void;
	/** Journal records kept; default 100,000. */
	readonly journalRecords?: number;
	/** Nanoseconds since 1970. */
	readonly now?: () => bigint;
}

/** A store without a disk, with the same transactions as the durable one: for tests. */
export function memoryStore({ beforeCommit, journalRecords = 100_000, now }: MemoryStoreOptions = {}): Store {
	const journal: JournalRecord[] = [];
	const engine: Engine = {
		async commit(batch) {
			await beforeCommit?.(batch);
			journal.push(...batch.journal);
			if (journal.length > journalRecords) journal.splice(0, journal.length - journalRecords);
			return { firstSeq: journal[0]?.seq ?? 1 };
		},
		async readJournal(since, until, limit) {
			const start = since + 1 - (journal[0]?.seq ?? 1);
			return journal.slice(start, start + Math.min(limit, until - since));
		},
		close: async () => undefined,
	};
	const options = { id: "memory", ...(now === undefined ? {} : { now }) };
	return new TransactionalStore(engine, { entries: [], firstSeq: 1, lastSeq: 0 }, options);
}
