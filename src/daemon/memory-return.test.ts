import assert from "node:assert/strict";
import { describe, it, mock } from "node:test";
import { MemoryReturn, memoryGivenBack } from "./memory-return.ts";

/** Runs `steps` at 10 ms intervals of a mocked clock; `busy` says at which times something happens. */
function collections(untilMs: number, busy: (now: number) => boolean): number[] {
	const found: number[] = [];
	let now = 0;
	mock.timers.enable({ apis: ["setTimeout"] });
	const clock = mock.method(performance, "now", () => now);
	try {
		const memory = new MemoryReturn(() => found.push(now));
		for (; now <= untilMs; now += 10) {
			if (busy(now)) memory.used();
			mock.timers.tick(10);
		}
		memory.close();
	} finally {
		clock.mock.restore();
		mock.timers.reset();
	}
	return found;
}

describe("memory return", () => {
	it("waits for a second in which nothing happens, and once more for idle threads to end", () => {
		const [first = 0, second = 0, ...more] = collections(15_000, (now) => now < 1_500);
		assert.ok(first >= 2_400 && first <= 2_600, `${first}`);
		assert.ok(second >= 6_400 && second <= 6_700, `${second}`);
		assert.deepEqual(more, []);
	});

	it("takes a short pause after half a busy minute", () => {
		const [first = 0] = collections(40_000, (now) => now % 500 === 0);
		assert.ok(first >= 30_000 && first <= 30_600, `${first}`);
	});

	it("does not hold up a daemon that never pauses", () => {
		assert.deepEqual(
			collections(20_000, () => true),
			[],
		);
	});

	it("collects and trims malloc's heap, at rest it lets go of program files", () => {
		const gone = new WeakRef({ garbage: true });
		const trimmed: number[] = [];
		const advised: unknown[] = [];
		const giveBack = memoryGivenBack({
			malloc_trim: (kept) => {
				trimmed.push(Number(kept));
				return 0;
			},
			madvise: (...advice) => advised.push(advice),
		});
		return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
			giveBack(false);
			assert.deepEqual(trimmed, [0]);
			assert.deepEqual(advised, []);
			assert.equal(gone.deref(), undefined);
			giveBack(true);
			assert.ok(advised.length > 0);
		});
	});
});
