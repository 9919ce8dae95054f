import type { JournalRecord } from "./store.ts";
import { decodeValue, encodeValue } from "./value-codec.ts";
import type { JournalRow } from "./worker-protocol.ts";

/** A journal record on disk: the time in nanoseconds, a space, then the rest as a value. */
export function encodeRow({ seq, time, kind, namespace, subject, body }: JournalRecord): JournalRow {
	return [seq, `${time} ${encodeValue([kind === "event", namespace, subject, body])}`];
}

export function decodeRow([seq, text]: JournalRow): JournalRecord {
	const space = text.indexOf(" ");
	const [isEvent, namespace, subject, body] = decodeValue(text.slice(space + 1)) as [
		boolean,
		string,
		string,
		JournalRecord["body"],
	];
	return { seq, time: timeOfRow(text), kind: isEvent ? "event" : "transition", namespace, subject, body };
}

/** Without decoding the record: trimming asks this of thousands. */
export const timeOfRow = (text: string): bigint => BigInt(text.slice(0, text.indexOf(" ")));
