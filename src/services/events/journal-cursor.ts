import { DaemonError } from "../../errors/daemon-error.ts";
import type { Journal, JournalRecord } from "../../metadata/store/store.ts";

/** Records that wait in memory for a slow reader; it reads the rest from the journal later. */
const queueLimit = 1024;
/** Records read from the journal at a time. */
const batchLimit = 256;

/**
 * The journal from `since` (exclusive) on, without an end: what is there, then what comes, in order and without a gap. A
 * reader that is too slow for the queue catches up from the journal, so that nothing is lost and memory stays bounded; it
 * ends with DataLoss only if the journal has forgotten what it missed. The subscription begins with this call.
 */
export function followJournal(
	journal: Journal,
	since: number,
	signal: AbortSignal,
): AsyncIterableIterator<JournalRecord> & AsyncDisposable {
	let queue: JournalRecord[] = [];
	let next = since;
	/** Whether all records after `next` that exist are in the queue. */
	let live = journal.last <= since;
	let wake: (() => void) | undefined;
	const unsubscribe = journal.subscribe((records) => {
		if (live && queue.length + records.length <= queueLimit) queue.push(...records);
		else live = false;
		wake?.();
	});
	const onAbort = (): void => wake?.();
	signal.addEventListener("abort", onAbort);
	const end = (): void => {
		unsubscribe();
		signal.removeEventListener("abort", onAbort);
		queue = [];
	};

	const catchUp = async (): Promise<void> => {
		const records = await journal.read(next, batchLimit);
		const first = records[0]?.seq ?? journal.first;
		if (first > next + 1)
			throw new DaemonError(
				"DataLoss",
				{ kind: "journal", id: String(next + 1) },
				`the reader was too slow: records up to ${first - 1} are gone`,
			);
		queue.push(...records);
	};

	async function* follow(): AsyncGenerator<JournalRecord, void, undefined> {
		try {
			while (!signal.aborted) {
				const record = queue.shift();
				if (record !== undefined) {
					if (record.seq <= next) continue;
					next = record.seq;
					yield record;
				} else if (!live) {
					live = journal.last <= next;
					if (!live) await catchUp();
				} else
					await new Promise<void>((resolve) => {
						wake = resolve;
					});
			}
		} finally {
			end();
		}
	}
	const iterator = follow();
	return Object.assign(iterator, {
		[Symbol.asyncDispose]: async () => {
			end();
			await iterator.return();
		},
	}) as AsyncIterableIterator<JournalRecord> & AsyncDisposable;
}
