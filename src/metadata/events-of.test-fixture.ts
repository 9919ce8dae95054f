import type { JournalRecord, Store } from "./store/store.ts";

/** Topics and decoded messages of all events so far. */
export async function eventsOf<T>(store: Store, decode: (bytes: Uint8Array) => T): Promise<[string, string, T][]> {
	const records: readonly JournalRecord[] = await store.journal.read(0, 1_000);
	return records.map(({ subject, body }) => {
		const { typeUrl, value } = body as { readonly typeUrl: string; readonly value: Uint8Array };
		return [subject, typeUrl, decode(value)];
	});
}

/** Topics of all events so far. */
export const topicsOf = async (store: Store): Promise<string[]> =>
	(await store.journal.read(0, 1_000)).map(({ subject }) => subject);
