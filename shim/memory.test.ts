import assert from "node:assert/strict";
import { it, mock } from "node:test";
import { MemoryReturn } from "./memory.ts";

it("gives memory back after the start, and at most each 30 s while something happens", () => {
	const trims: number[] = [];
	let now = 0;
	let advised = 0;
	mock.timers.enable({ apis: ["setTimeout"] });
	try {
		const memory = new MemoryReturn({ malloc_trim: () => trims.push(now), madvise: () => ++advised });
		for (; now <= 100_000; now += 100) {
			if (now >= 1_000 && now < 40_000) memory.used();
			mock.timers.tick(100);
		}
	} finally {
		mock.timers.reset();
	}
	const [start = 0, first = 0, second = 0, ...more] = trims;
	assert.ok(start <= 300, `${start}`);
	assert.ok(first >= 29_900 && first <= 30_200, `${first}`);
	assert.ok(second >= 59_900 && second <= 60_300, `${second}`);
	assert.deepEqual(more, [], "nothing has happened since");
	assert.ok(advised > 0, "program files were let go of");
});
