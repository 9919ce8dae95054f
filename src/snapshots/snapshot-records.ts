import type { SnapshotKind } from "./snapshotter.ts";

/** What is kept of a snapshot, under its key. A type, not an interface: it must pass as a store's plain value. */
export type SnapshotRecord = {
	readonly schema: 1;
	/** Number of its directory. */
	readonly id: number;
	readonly kind: SnapshotKind;
	readonly parent: string;
	/** Nanoseconds since 1970. */
	readonly created: bigint;
	readonly updated: bigint;
	readonly labels: { readonly [key: string]: string };
	/** Set at commit. */
	readonly usage?: { readonly size: bigint; readonly inodes: bigint };
};

export interface RecordReader {
	get(key: string): unknown;
	/** Entries whose key starts with the prefix. */
	entries(prefix: string): Iterable<readonly [key: string, value: unknown]>;
}

export interface RecordTransaction extends RecordReader {
	put(key: string, value: SnapshotRecord): void;
	delete(key: string): void;
}

/**
 * Where a snapshotter keeps its records: the daemon's store satisfies it as it is (src/metadata/store/store.ts). The
 * change runs at once; the promise resolves when it is durable, and if the change throws, nothing of it is kept.
 */
export interface SnapshotRecords extends RecordReader {
	update<T>(change: (transaction: RecordTransaction) => T): Promise<T>;
}

/** One snapshotter's part of the records, by snapshot key. */
export class SnapshotTable {
	readonly #prefix: string;

	constructor(snapshotter: string) {
		this.#prefix = `v1//snapshotter-${snapshotter}/`;
	}

	get(reader: RecordReader, key: string): SnapshotRecord | undefined {
		return reader.get(this.#prefix + key) as SnapshotRecord | undefined;
	}

	put(transaction: RecordTransaction, key: string, record: SnapshotRecord): void {
		transaction.put(this.#prefix + key, record);
	}

	delete(transaction: RecordTransaction, key: string): void {
		transaction.delete(this.#prefix + key);
	}

	*all(reader: RecordReader): Generator<readonly [key: string, record: SnapshotRecord]> {
		for (const [key, value] of reader.entries(this.#prefix))
			yield [key.slice(this.#prefix.length), value as SnapshotRecord];
	}
}
