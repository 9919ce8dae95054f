import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryStore } from "../metadata/store/memory-store.ts";
import type { Store } from "../metadata/store/store.ts";
import { FrameWindow } from "./frame-window.ts";
import { parseStreamRequest } from "./stream-filter.ts";
import { type FrameSink, subscribe } from "./subscription.ts";

const commit = (store: Store, count: number, namespace = "a"): Promise<void> =>
	store.update((tx) => {
		for (let i = 0; i < count; i++) tx.record({ kind: "event", namespace, subject: "/x/y", body: null });
	});

interface Reader extends FrameSink {
	readonly seqs: number[];
	readonly notices: { type: string; data: Record<string, string> }[];
	ended: string | undefined;
}

/** A reader whose buffer is full after each frame for which `full` answers true; `drain` says when it empties. */
function reader(full: (seq: number) => boolean = () => false, drain: () => Promise<void> = async () => {}): Reader {
	return {
		seqs: [],
		notices: [],
		ended: undefined,
		send({ record, json }) {
			assert.equal(JSON.parse(json).sequence, String(record.seq));
			this.seqs.push(record.seq);
			return !full(record.seq);
		},
		say(json) {
			this.notices.push(JSON.parse(json));
		},
		drained: drain,
		end(why) {
			this.ended = why;
		},
	};
}

const request = (query: string) => parseStreamRequest(new URLSearchParams(query));

test("replay and live follow each other without gap or duplicate, whatever is committed meanwhile", async () => {
	const namespaces = fc.constantFrom("a", "b");
	const commits = fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), namespaces), { maxLength: 12 });
	await fc.assert(
		fc.asyncProperty(
			commits,
			commits,
			fc.scheduler(),
			fc.nat(400),
			fc.constantFrom("", "&namespace=a"),
			fc.integer({ min: 1, max: 9 }),
			async (before, during, scheduler, position, filter, fullEach) => {
				const store = memoryStore();
				const windowSize = 2000; // never outrun: falling out of the window is another test
				const expected: number[] = [];
				let next = 1;
				const write = async ([count, namespace]: [number, string]): Promise<void> => {
					for (let i = 0; i < count; i++, next++) if (filter === "" || namespace === "a") expected.push(next);
					await commit(store, count, namespace);
				};
				for (const entry of before.slice(0, 3)) await write(entry); // older than the window
				const window = new FrameWindow(store.journal, windowSize);
				for (const entry of before.slice(3)) await write(entry);
				const since = Math.min(position, store.journal.last);
				const sink = reader(
					(seq) => seq % fullEach === 0,
					() => scheduler.schedule(Promise.resolve()),
				);
				const stop = new AbortController();
				const over = subscribe({
					journal: store.journal,
					window,
					request: request(`since=${since}${filter}`),
					sink,
					stallMs: 60_000,
					signal: stop.signal,
				});
				const writes = during.map((entry) => scheduler.schedule(Promise.resolve()).then(() => write(entry)));
				await scheduler.waitFor(Promise.all(writes));
				const wanted = expected.filter((seq) => seq > since);
				await scheduler.waitFor(
					(async () => {
						for (let turns = 0; sink.seqs.length < wanted.length && turns < 5000; turns++)
							await new Promise((resolve) => setImmediate(resolve));
					})(),
				);
				stop.abort();
				await over;
				assert.deepEqual(sink.seqs, wanted);
				assert.deepEqual(sink.notices, []);
				window.close();
			},
		),
		{ numRuns: 60 },
	);
});

test("without follow the stream ends after what was durable when it was asked for", async () => {
	const store = memoryStore();
	await commit(store, 5);
	const window = new FrameWindow(store.journal, 10);
	const sink = reader();
	await subscribe({
		journal: store.journal,
		window,
		request: request("since=2&follow=false"),
		sink,
		stallMs: 1000,
		signal: new AbortController().signal,
	});
	assert.deepEqual([sink.seqs, sink.ended], [[3, 4, 5], "done"]);
});

test("a live reader that falls out of the window hears what it was sent last, and is closed", async () => {
	const store = memoryStore();
	const window = new FrameWindow(store.journal, 4);
	let release = (): void => {};
	const sink = reader(
		(seq) => seq === 2,
		() => new Promise((resolve) => (release = resolve)),
	);
	const over = subscribe({
		journal: store.journal,
		window,
		request: request(""),
		sink,
		stallMs: 60_000,
		signal: new AbortController().signal,
	});
	await commit(store, 3);
	await commit(store, 20);
	release();
	await over;
	assert.deepEqual([sink.seqs, sink.ended], [[1, 2], "behind"]);
	assert.deepEqual(sink.notices, [
		{
			specversion: "1.0",
			id: "troupe.stream.behind",
			source: "/troupe",
			type: "troupe.stream.behind",
			data: { delivered: "2", newest: "23" },
		},
	]);
});

test("a reader whose buffer does not empty in time is closed as too slow", async () => {
	const store = memoryStore();
	const window = new FrameWindow(store.journal, 4);
	const sink = reader(
		() => true,
		() => new Promise(() => {}),
	);
	const over = subscribe({
		journal: store.journal,
		window,
		request: request("since=0"),
		sink,
		stallMs: 5,
		signal: new AbortController().signal,
	});
	await commit(store, 3);
	await over;
	assert.deepEqual([sink.seqs, sink.ended, sink.notices[0]?.data.delivered], [[1], "behind", "1"]);
});

test("a reader that asks for records no longer kept is told where the journal begins", async () => {
	const store = memoryStore({ journalRecords: 3 });
	for (let i = 0; i < 6; i++) await commit(store, 1);
	const window = new FrameWindow(store.journal, 10);
	const sink = reader();
	await subscribe({
		journal: store.journal,
		window,
		request: request("since=1&follow=false"),
		sink,
		stallMs: 1000,
		signal: new AbortController().signal,
	});
	assert.deepEqual(sink.seqs, [4, 5, 6]);
	assert.deepEqual(sink.notices[0]?.data, { since: "1", first: "4" });
});

test("filters choose by namespace, topic and actor, and refuse what they do not know", () => {
	const record = (kind: "event" | "transition", subject: string, namespace = "a") =>
		({ kind, subject, namespace, body: null, seq: 1, time: 0n }) as const;
	const tasks = request("topic=/tasks");
	assert.ok(tasks.matches(record("event", "/tasks/exit")));
	assert.ok(!tasks.matches(record("event", "/tasksmore/exit")));
	assert.ok(!tasks.matches(record("transition", "/tasks/exit")));
	const both = request("topic=/tasks/exit&actor=/task-manager/");
	assert.ok(both.matches(record("transition", "/task-manager/default/web")));
	assert.ok(both.matches(record("event", "/tasks/exit")));
	assert.ok(!both.matches(record("event", "/tasks/start")));
	assert.ok(!request("namespace=b&namespace=c").matches(record("event", "/x")));
	for (const bad of ["since=-1", "since=x", "follow=maybe", "colour=red"])
		assert.throws(() => request(bad), { code: "InvalidArgument" });
});
