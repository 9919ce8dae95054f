import { mkdir } from "node:fs/promises";
import { DaemonError } from "../../errors/daemon-error.ts";
import { type Database, database, type Operation } from "./database.ts";
import { timeOfRow } from "./journal-codec.ts";
import type { Committed, JournalRow, Opened, WorkerOptions } from "./worker-protocol.ts";

/** Version of the layout below; a daemon refuses a newer one. Change it together with a migration in `open`. */
const schemaVersion = 1;

/**
 * On disk: `schema`, `k/<key of the store>`, `j/<seq as 14 hex digits>` and `journal-first`, written with each trim so
 * that opening need not walk over what was deleted.
 */
const schemaKey = "schema";
const firstKey = "journal-first";
const journalKey = (seq: number): string => `j/${seq.toString(16).padStart(14, "0")}`;
const seqOf = (key: string): number => Number.parseInt(key.slice(2), 16);
const journalRange = { gte: "j/", lt: "j0" };
const entriesRange = { gte: "k/", lt: "k0" };

/** One background trim deletes at most this many records, so that a commit behind it waits for little. */
const trimStep = 2_000;
const ageCheckMs = 60_000;

/** The database behind a store, with its journal kept in bounds. Runs in the store's worker. */
export class DurableDatabase {
	readonly #options: WorkerOptions;
	#database: Database;
	#firstSeq = 1;
	#lastSeq = 0;
	/** Highest number that a refused batch may have left on disk; the next batch deletes what it does not overwrite. */
	#triedSeq = 0;
	/** RocksDB refuses writes after a failed one until it is opened again. */
	#needsReopen = false;
	#trimming: Promise<void> | undefined;
	#ageTimer: NodeJS.Timeout | undefined;

	constructor(options: WorkerOptions) {
		this.#options = options;
		this.#database = database(options.directory);
	}

	async open(onEntries: (rows: readonly (readonly [string, string])[]) => void): Promise<Opened> {
		await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
		await this.#openDatabase();
		await this.#checkSchema();
		for await (const rows of this.#pages(entriesRange))
			onEntries(rows.map(([key, text]) => [key.slice(entriesRange.gte.length), text]));
		for await (const [row] of this.#pages({ ...journalRange, reverse: true, limit: 1 }))
			if (row !== undefined) this.#lastSeq = seqOf(row[0]);
		for await (const [row] of this.#pages({ gte: firstKey, lt: `${firstKey}0` }))
			if (row !== undefined) this.#firstSeq = Number(row[1]);
		this.#ageTimer = setInterval(() => this.#trimInBackground(), ageCheckMs);
		this.#trimInBackground();
		return { firstSeq: this.#firstSeq, lastSeq: this.#lastSeq };
	}

	async commit(
		changes: readonly (readonly [key: string, text: string | null])[],
		journal: readonly JournalRow[],
	): Promise<Committed> {
		const operations: Operation[] = [];
		for (const [name, text] of changes) {
			const key = entriesRange.gte + name;
			operations.push(text === null ? { type: "del", key } : { type: "put", key, value: text });
		}
		for (const [seq, text] of journal) operations.push({ type: "put", key: journalKey(seq), value: text });
		const last = journal.at(-1)?.[0] ?? this.#lastSeq;
		for (let seq = last + 1; seq <= this.#triedSeq; seq++) operations.push({ type: "del", key: journalKey(seq) });
		this.#triedSeq = Math.max(this.#triedSeq, last);
		if (this.#needsReopen) await this.#reopen();
		await this.#write(operations, true);
		this.#lastSeq = last;
		this.#triedSeq = last;
		if (this.#excess() > trimStep) this.#trimInBackground();
		return { firstSeq: this.#firstSeq };
	}

	async readJournal(since: number, until: number, limit: number): Promise<JournalRow[]> {
		const range = { gte: journalKey(since + 1), lt: journalKey(until + 1), limit };
		const found: JournalRow[] = [];
		for await (const rows of this.#pages(range)) for (const [key, text] of rows) found.push([seqOf(key), text]);
		return found;
	}

	async close(): Promise<void> {
		clearInterval(this.#ageTimer);
		await this.#trimming;
		if (this.#needsReopen) await this.#letGo();
		else await this.#database.close();
	}

	async #reopen(): Promise<void> {
		await this.#trimming;
		await this.#letGo();
		this.#database = database(this.#options.directory);
		await this.#openDatabase();
		this.#needsReopen = false;
	}

	/** Closing reports the failed write once more; the engine frees the directory all the same. */
	async #letGo(): Promise<void> {
		await this.#database.close().catch(() => undefined);
	}

	async #write(operations: readonly Operation[], sync: boolean): Promise<void> {
		if (operations.length === 0) return;
		try {
			await this.#database.batch(operations, { sync });
		} catch (reason) {
			this.#needsReopen = true;
			throw this.#problem(reason, "write refused");
		}
	}

	async #openDatabase(): Promise<void> {
		try {
			await this.#database.open();
		} catch (reason) {
			throw this.#problem(reason, "cannot be opened");
		}
	}

	async #checkSchema(): Promise<void> {
		let found: string | undefined;
		for await (const [row] of this.#pages({ gte: schemaKey, lt: `${schemaKey}0` })) found = row?.[1];
		if (found === undefined) {
			for await (const [row] of this.#pages({ gte: "", lt: "\u{10ffff}", limit: 1 }))
				if (row !== undefined) throw this.#error("FailedPrecondition", "holds data, but not of a Troupe store");
			await this.#write([{ type: "put", key: schemaKey, value: String(schemaVersion) }], true);
		} else if (Number(found) !== schemaVersion) {
			const problem = `has schema version ${found}; this troupe reads version ${schemaVersion}: start a newer one`;
			throw this.#error("FailedPrecondition", problem);
		}
	}

	#excess(): number {
		return this.#lastSeq - this.#firstSeq + 1 - this.#options.journal.maxRecords;
	}

	#trimInBackground(): void {
		if (this.#needsReopen) return;
		this.#trimming ??= this.#trim()
			// the journal is then longer than asked for; the next commit meets the same disk and reports it
			.catch(() => undefined)
			.finally(() => {
				this.#trimming = undefined;
			});
	}

	/** Deletes old records in steps; the newest one stays, it carries the sequence number across restarts. */
	async #trim(): Promise<void> {
		for (;;) {
			const oldest = BigInt(Date.now() - this.#options.journal.maxAgeMs) * 1_000_000n;
			const tooMany = this.#firstSeq + this.#excess();
			const rows = await this.readJournal(this.#firstSeq - 1, this.#lastSeq - 1, trimStep);
			const kept = rows.findIndex(([seq, text]) => seq >= tooMany && timeOfRow(text) >= oldest);
			const old = kept < 0 ? rows : rows.slice(0, kept);
			const last = old.at(-1)?.[0];
			if (last === undefined) return;
			const operations: Operation[] = old.map(([seq]) => ({ type: "del", key: journalKey(seq) }));
			operations.push({ type: "put", key: firstKey, value: String(last + 1) });
			await this.#write(operations, false);
			this.#firstSeq = last + 1;
			if (kept >= 0) return;
		}
	}

	async *#pages(range: { gte: string; lt: string; reverse?: boolean; limit?: number }) {
		const cursor = this.#database.iterator(range);
		try {
			for (let rows = await cursor.nextv(1_000); rows.length > 0; rows = await cursor.nextv(1_000)) yield rows;
		} finally {
			await cursor.close();
		}
	}

	/** Abstract-level hides the engine's words in `cause`. */
	#problem(reason: unknown, did: string): DaemonError {
		if (reason instanceof DaemonError) return reason;
		const { code, cause } = reason as { code?: string; cause?: unknown };
		const inner = (cause ?? reason) as { code?: string; message?: string };
		const text = inner.message ?? String(reason);
		const options = { cause: reason };
		if (inner.code === "LEVEL_LOCKED" || /\block\b.*(held|hold)|While lock file/.test(text))
			return this.#error("FailedPrecondition", "is in use by another daemon: one root has one daemon", options);
		if (/No space left|quota exceeded/i.test(text))
			return this.#error("ResourceExhausted", `${did}: disk full`, options);
		if (inner.code === "LEVEL_CORRUPTION" || code === "LEVEL_CORRUPTION")
			return this.#error("DataLoss", `${did}: ${text}`, options);
		return this.#error("Unavailable", `${did}: ${text}`, options);
	}

	#error(code: DaemonError["code"], problem: string, options?: ErrorOptions): DaemonError {
		return new DaemonError(code, { kind: "store", id: this.#options.directory }, problem, options);
	}
}
