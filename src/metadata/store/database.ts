import { createRequire } from "node:module";

/** What the store needs of an abstract-level database with UTF-8 keys and values; another engine fits in here. */
export interface Database {
	open(): Promise<void>;
	close(): Promise<void>;
	/** The only way to write: `put` and `del` of this binding ignore `sync` (test: "batches reach the disk"). */
	batch(operations: readonly Operation[], options: { readonly sync: boolean }): Promise<void>;
	iterator(range: Range): Cursor;
}

export type Operation =
	| { readonly type: "put"; readonly key: string; readonly value: string }
	| { readonly type: "del"; readonly key: string };

export interface Range {
	readonly gte: string;
	readonly lt: string;
	readonly limit?: number;
	readonly reverse?: boolean;
}

export interface Cursor {
	/** At most `size` entries; none at the end. */
	nextv(size: number): Promise<[key: string, value: string][]>;
	close(): Promise<void>;
}

/** Bounds what a restart replays from the log (290 ms for 27 MB) and what the daemon holds in memory. */
const memtableBytes = 16 * 1024 * 1024;

export function database(directory: string): Database {
	const { RocksLevel } = createRequire(import.meta.url)("@nxtedition/rocksdb") as {
		RocksLevel: new (directory: string, options: object) => Database;
	};
	return new RocksLevel(directory, {
		keyEncoding: "utf8",
		valueEncoding: "utf8",
		createIfMissing: true,
		compaction: "level",
		memtableMemoryBudget: memtableBytes,
		cacheSize: 1024 * 1024, // reads come from memory; this serves the journal only
		parallelism: 1,
	});
}
