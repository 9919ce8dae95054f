import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { JournalDraft, JournalRecord, Reader, Store, Value } from "./store.ts";

/** One store under test; `reopen` closes it and opens the same contents again, where the engine is durable. */
export interface StoreFixture {
	readonly store: Store;
	readonly reopen?: () => Promise<Store>;
}

const event = (subject: string): JournalDraft => ({ kind: "event", namespace: "default", subject, body: { subject } });
const contents = (reader: Reader, prefix = ""): [string, Value][] =>
	[...reader.entries(prefix)].map(([key, value]) => [key, value]);

/** The contract of store.ts: every engine passes it. */
export function storeContract(
	name: string,
	withStore: (test: (fixture: StoreFixture) => Promise<void>) => Promise<void>,
): void {
	describe(`store contract: ${name}`, () => {
		const promise = (words: string, test: (fixture: StoreFixture) => Promise<void>): void => {
			it(words, () => withStore(test));
		};

		promise("a change is visible inside its transaction at once and outside when it is durable", async ({ store }) => {
			const done = store.update((tx) => {
				tx.put("v1/a", 1);
				assert.equal(tx.get("v1/a"), 1);
				return "result";
			});
			assert.equal(store.get("v1/a"), undefined);
			assert.equal(await done, "result");
			assert.equal(store.get("v1/a"), 1);
		});

		promise("a transaction sees everything staged before it", async ({ store }) => {
			const first = store.update((tx) => tx.put("k/a", 1));
			const second = store.update((tx) => {
				assert.deepEqual(contents(tx, "k/"), [["k/a", 1]]);
				tx.delete("k/a");
				tx.put("k/b", 2);
			});
			const third = store.update((tx) => contents(tx, "k/"));
			assert.deepEqual(await third, [["k/b", 2]]);
			await Promise.all([first, second]);
			assert.deepEqual(contents(store), [["k/b", 2]]);
		});

		promise("a transaction that throws leaves nothing and rejects with its error", async ({ store }) => {
			const broken = new Error("broken");
			const refused = store.update((tx) => {
				tx.put("a", 1);
				tx.record(event("/a"));
				throw broken;
			});
			await assert.rejects(refused, (error) => error === broken);
			assert.equal(await store.update((tx) => tx.get("a")), undefined);
			assert.equal(store.journal.last, 0);
		});

		promise("keys are listed in the order of their UTF-8 bytes", async ({ store }) => {
			const keys = ["p/b", "p/a", "p/a/b", "p/￿", "p/\u{10000}", "p/é", "p", "q", "p/a b"];
			await store.update((tx) => {
				for (const key of keys) tx.put(key, key);
			});
			const bytes = keys.filter((key) => key.startsWith("p/")).map((key) => Buffer.from(key));
			const expected = bytes.sort(Buffer.compare).map(String);
			assert.deepEqual(
				contents(store, "p/").map(([key]) => key),
				expected,
			);
		});

		promise("values keep their types and cannot be changed by who put or got them", async ({ store, reopen }) => {
			const bytes = new Uint8Array([1, 2, 3]);
			const labels: { [name: string]: Value } = { a: "x", ["__proto__"]: "y", $n: "z", $$b: 1 };
			const value = { bytes, labels, big: 2n ** 63n, list: [null, true, -1.5], absent: undefined };
			await store.update((tx) => tx.put("v", value));
			bytes[0] = 9;
			labels.a = "changed";
			const expected = {
				bytes: new Uint8Array([1, 2, 3]),
				labels: { a: "x", ["__proto__"]: "y", $n: "z", $$b: 1 },
				big: 2n ** 63n,
				list: [null, true, -1.5],
			};
			assert.deepEqual(store.get("v"), expected);
			assert.ok(Object.isFrozen(store.get("v")));
			if (reopen !== undefined) assert.deepEqual((await reopen()).get("v"), expected);
		});

		promise("what is not plain data is refused", async ({ store }) => {
			for (const bad of [Number.NaN, new Date(), new Map(), () => 1, Symbol("s")])
				await assert.rejects(
					store.update((tx) => tx.put("bad", { inside: bad as unknown as Value })),
					(error) => error instanceof DaemonError && error.code === "InvalidArgument",
				);
			assert.deepEqual(contents(store), []);
		});

		promise(
			"the journal numbers records by one, reads them in pages, and tells subscribers in order",
			async (fixture) => {
				const { store } = fixture;
				const heard: JournalRecord[] = [];
				const unsubscribe = store.journal.subscribe((records) => heard.push(...records));
				await Promise.all(Array.from({ length: 10 }, (_, i) => store.update((tx) => tx.record(event(`/${i}`)))));
				assert.equal(store.journal.last, 10);
				assert.equal(store.journal.first, 1);
				assert.deepEqual(
					heard.map(({ seq, subject }) => [seq, subject]),
					Array.from({ length: 10 }, (_, i) => [i + 1, `/${i}`]),
				);
				const page = await store.journal.read(3, 4);
				assert.deepEqual(page, heard.slice(3, 7));
				assert.deepEqual(await store.journal.read(10, 5), []);
				unsubscribe();
				await store.update((tx) => tx.record(event("/unheard")));
				assert.equal(heard.length, 10);
				if (fixture.reopen === undefined) return;
				const again = await fixture.reopen();
				assert.equal(again.journal.last, 11);
				assert.deepEqual(await again.journal.read(3, 4), page);
				await again.update((tx) => tx.record(event("/next")));
				assert.equal(again.journal.last, 12);
			},
		);

		promise("reading to the last record and subscribing in one turn leaves no gap", async ({ store }) => {
			const write = (i: number): Promise<void> => store.update((tx) => tx.record(event(`/${i}`)));
			await write(1);
			const inFlight = write(2);
			const seen: number[] = [];
			const past = store.journal.read(0, 100);
			store.journal.subscribe((records) => seen.push(...records.map(({ seq }) => seq)));
			await Promise.all([inFlight, write(3)]);
			assert.deepEqual([...(await past).map(({ seq }) => seq), ...seen], [1, 2, 3]);
		});

		promise("a closed store finishes what is staged and refuses more", async ({ store, reopen }) => {
			const staged = store.update((tx) => tx.put("a", 1));
			await store.close();
			await staged;
			await assert.rejects(
				store.update((tx) => tx.put("b", 1)),
				{ code: "Unavailable" },
			);
			if (reopen !== undefined) assert.deepEqual(contents(await reopen()), [["a", 1]]);
		});

		promise("transactions behave like a plain map", ({ store }) => mapModel(store));
	});
}

/** Random transactions, some of which throw, against a plain Map; keys and prefixes from a small alphabet. */
async function mapModel(store: Store): Promise<void> {
	const key = fc.array(fc.constantFrom("a", "b", "/", "é", "\u{10000}", "￿"), { minLength: 1, maxLength: 4 });
	const step = fc.record({
		kind: fc.constantFrom("put", "delete", "entries"),
		key: key.map((parts) => parts.join("")),
		value: fc.oneof(fc.integer(), fc.string(), fc.bigInt(), fc.uint8Array({ maxLength: 8 })),
	});
	const transaction = fc.record({ steps: fc.array(step, { maxLength: 6 }), fails: fc.boolean(), waits: fc.boolean() });
	await fc.assert(
		fc.asyncProperty(fc.array(transaction, { maxLength: 12 }), async (transactions) => {
			await store.update((tx) => {
				for (const [name] of tx.entries("")) tx.delete(name);
			});
			let model = new Map<string, Value>();
			const outcomes: Promise<unknown>[] = [];
			for (const { steps, fails, waits } of transactions) {
				const trial = new Map(model);
				const outcome = store.update((tx) => {
					for (const { kind, key, value } of steps) {
						if (kind === "put") {
							tx.put(key, value);
							trial.set(key, value);
						} else if (kind === "delete") {
							tx.delete(key);
							trial.delete(key);
						} else assert.deepEqual(contents(tx, key), sorted(trial, key));
					}
					if (fails) throw new Error("on purpose");
				});
				if (!fails) model = trial;
				outcomes.push(fails ? assert.rejects(outcome, /on purpose/) : outcome);
				if (waits) await Promise.allSettled(outcomes);
			}
			await Promise.all(outcomes);
			assert.deepEqual(contents(store), sorted(model, ""));
		}),
		{ numRuns: 60 },
	);
}

const sorted = (model: ReadonlyMap<string, Value>, prefix: string): [string, Value][] =>
	[...model]
		.filter(([key]) => key.startsWith(prefix))
		.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
