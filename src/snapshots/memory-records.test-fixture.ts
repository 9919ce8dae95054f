import type { RecordTransaction, SnapshotRecord, SnapshotRecords } from "./snapshot-records.ts";

/** Records in memory; `refuse` makes the next changes fail as a full disk would. They outlive a snapshotter. */
export class MemoryRecords implements SnapshotRecords {
	#records = new Map<string, SnapshotRecord>();
	refuse: Error | undefined;

	get(key: string): SnapshotRecord | undefined {
		return this.#records.get(key);
	}

	*entries(prefix: string): Generator<readonly [string, SnapshotRecord]> {
		for (const [key, record] of [...this.#records].sort(([a], [b]) => (a < b ? -1 : 1)))
			if (key.startsWith(prefix)) yield [key, record];
	}

	async update<T>(change: (transaction: RecordTransaction) => T): Promise<T> {
		const before = new Map(this.#records);
		try {
			const result = change({
				get: (key) => this.get(key),
				entries: (prefix) => this.entries(prefix),
				put: (key, record) => this.#records.set(key, Object.freeze(record)),
				delete: (key) => this.#records.delete(key),
			});
			await Promise.resolve();
			if (this.refuse !== undefined) throw this.refuse;
			return result;
		} catch (error) {
			this.#records = before;
			throw error;
		}
	}
}
