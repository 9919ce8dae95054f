import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DownloadSlots } from "./download-slots.ts";

const never = new AbortController().signal;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("download slots", () => {
	test("a free slot goes to the pull that has the fewest, among equals to the first", async () => {
		const slots = new DownloadSlots(3);
		const order: string[] = [];
		const releases: (() => void)[] = [];
		const want = (owner: string): void =>
			void slots.acquire(owner, never).then((release) => {
				order.push(owner);
				releases.push(release);
			});
		for (let layer = 0; layer < 6; layer++) want("big");
		want("small");
		want("small");
		await turn();
		assert.deepEqual(order, ["big", "big", "big"]);
		for (let round = 0; round < 5; round++) {
			releases.shift()?.();
			await turn();
		}
		assert.deepEqual(order.slice(3), ["small", "big", "big", "small", "big"]);
	});

	test("who is cancelled while waiting takes no slot", async () => {
		const slots = new DownloadSlots(1);
		const release = await slots.acquire("a", never);
		const abort = new AbortController();
		const waiting = assert.rejects(slots.acquire("b", abort.signal), /gone/);
		abort.abort(new Error("gone"));
		await waiting;
		const next = slots.acquire("c", never);
		release();
		release();
		(await next)();
		await assert.rejects(slots.acquire("d", AbortSignal.abort(new Error("never came"))), /never came/);
	});

	test("never more than the limit, and everybody gets a turn", async () => {
		await fc.assert(
			fc.asyncProperty(
				fc.integer({ min: 1, max: 4 }),
				fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.boolean()), { maxLength: 20 }),
				async (limit, wishes) => {
					const slots = new DownloadSlots(limit);
					let used = 0;
					let served = 0;
					await Promise.all(
						wishes.map(async ([owner, leaves]) => {
							const abort = new AbortController();
							const slot = slots.acquire(owner, abort.signal);
							if (leaves) abort.abort(new Error("left"));
							const release = await slot.catch(() => undefined);
							if (release === undefined) return;
							assert.ok(++used <= limit);
							served++;
							await turn();
							used--;
							release();
						}),
					);
					assert.equal(used, 0);
					assert.ok(served >= wishes.filter(([, leaves]) => !leaves).length);
				},
			),
			{ numRuns: 40 },
		);
	});
});
