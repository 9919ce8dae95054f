import type { Journal, JournalRecord } from "../metadata/store/store.ts";
import { cloudEvent } from "./cloud-event.ts";
import { textFrame } from "./websocket-frame.ts";

/** A record with its JSON, made when the first reader needs it and then shared by all. */
export interface Frame {
	readonly record: JournalRecord;
	readonly json: string;
	/** The same as a WebSocket text frame. */
	readonly webSocketFrame: Buffer;
}

/** The newest records of the journal, ready to be sent: one window serves every reader. */
export class FrameWindow {
	readonly #capacity: number;
	readonly #frames: LazyFrame[] = [];
	readonly #listeners = new Set<() => void>();
	readonly #unsubscribe: () => void;
	/** Records up to this one that are not in the window are in the journal. */
	#before: number;
	#last: number;

	/** `capacity`: records kept. */
	constructor(journal: Journal, capacity: number) {
		this.#capacity = capacity;
		this.#before = journal.last;
		this.#last = journal.last;
		this.#unsubscribe = journal.subscribe((records) => this.#append(records));
	}

	/** Sequence number of the newest record that readers may have. */
	get last(): number {
		return this.#last;
	}

	/** The window has what comes after this sequence number. */
	get start(): number {
		return this.#before;
	}

	/** Whether everything after `seq` is in the window. */
	covers(seq: number): boolean {
		return seq >= this.#before;
	}

	/** The first frame after `seq`; undefined when there is none yet. Only if the window {@link covers} `seq`. */
	after(seq: number): Frame | undefined {
		let low = 0;
		let high = this.#frames.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if ((this.#frames[middle]?.record.seq ?? Number.POSITIVE_INFINITY) <= seq) low = middle + 1;
			else high = middle;
		}
		return this.#frames[low];
	}

	/** Calls the listener after each batch, until the returned function is called. */
	onAppend(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => void this.#listeners.delete(listener);
	}

	close(): void {
		this.#unsubscribe();
		this.#listeners.clear();
	}

	#append(records: readonly JournalRecord[]): void {
		for (const record of records) {
			this.#frames.push(new LazyFrame(record));
			this.#last = record.seq;
		}
		// trimmed in bulk: shifting one by one would move the whole array for each record
		if (this.#frames.length > 2 * this.#capacity) {
			const dropped = this.#frames.splice(0, this.#frames.length - this.#capacity);
			this.#before = dropped.at(-1)?.record.seq ?? this.#before;
		}
		for (const listener of this.#listeners) listener();
	}
}

export class LazyFrame implements Frame {
	readonly record: JournalRecord;
	#json: string | undefined;
	#webSocketFrame: Buffer | undefined;

	constructor(record: JournalRecord) {
		this.record = record;
	}

	get json(): string {
		this.#json ??= JSON.stringify(cloudEvent(this.record));
		return this.#json;
	}

	get webSocketFrame(): Buffer {
		this.#webSocketFrame ??= textFrame(this.json);
		return this.#webSocketFrame;
	}
}
