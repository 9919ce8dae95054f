import assert from "node:assert/strict";
import { test } from "node:test";
import type { Journal, JournalRecord } from "../../metadata/store/store.ts";
import { followJournal } from "./journal-cursor.ts";

/** A journal whose records are made by the test, and which forgets all but the newest `kept`. */
function journal(kept = Number.POSITIVE_INFINITY) {
	const records: JournalRecord[] = [];
	const listeners = new Set<(records: readonly JournalRecord[]) => void>();
	const all: Journal = {
		get last() {
			return records.length;
		},
		get first() {
			return Math.max(1, records.length - kept + 1);
		},
		read: async (since, limit) => records.slice(Math.max(since, records.length - kept)).slice(0, limit),
		subscribe: (listener) => {
			listeners.add(listener);
			return () => listeners.delete(listener);
		},
	};
	const append = (count: number): void => {
		const batch = Array.from({ length: count }, (_, index) => ({
			seq: records.length + index + 1,
			time: 0n,
			kind: "event" as const,
			namespace: "a",
			subject: "/x",
			body: null,
		}));
		records.push(...batch);
		for (const listener of listeners) listener(batch);
	};
	return { journal: all, append, listeners };
}

async function take(records: AsyncIterator<JournalRecord>, count: number): Promise<number[]> {
	const seen: number[] = [];
	while (seen.length < count) {
		const { done, value } = await records.next();
		if (done === true) break;
		seen.push(value.seq);
	}
	return seen;
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const never = new AbortController().signal;

test("from now on: what came before is not told, what comes after the call is", async () => {
	const { journal: all, append } = journal();
	append(5);
	const records = followJournal(all, all.last, never);
	append(2);
	assert.deepEqual(await take(records, 2), [6, 7]);
	const next = take(records, 1);
	append(1);
	assert.deepEqual(await next, [8]);
});

test("from a number on: first the journal, then live, without gap or repetition", async () => {
	const { journal: all, append } = journal();
	append(600);
	const records = followJournal(all, 10, never);
	assert.deepEqual(await take(records, 300), numbers(11, 310));
	append(100);
	assert.deepEqual(await take(records, 390), numbers(311, 700));
});

test("a slow reader loses nothing: it catches up from the journal", async () => {
	const { journal: all, append } = journal();
	const records = followJournal(all, 0, never);
	append(3);
	assert.deepEqual(await take(records, 1), [1]);
	append(1000);
	append(2000);
	assert.deepEqual(await take(records, 3002), numbers(2, 3003));
});

test("a reader that misses what the journal has forgotten is told so", async () => {
	const { journal: all, append } = journal(50);
	const records = followJournal(all, 0, never);
	append(2000);
	await assert.rejects(take(records, 1), { code: "DataLoss" });
});

test("an abort ends it, and the journal has no listener any more", async () => {
	const { journal: all, listeners } = journal();
	const caller = new AbortController();
	const records = followJournal(all, 0, caller.signal);
	const next = records.next();
	caller.abort();
	assert.equal((await next).done, true);
	assert.equal(listeners.size, 0);
});
