import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { systemClock } from "./clock.ts";

test("a delay longer than Node's longest timer passes in full", () => {
	mock.timers.enable({ apis: ["setTimeout"] });
	try {
		let passed = 0;
		const day = 86_400_000;
		systemClock.after(30 * day, () => {
			passed++;
		});
		const cancel = systemClock.after(30 * day, () => {
			passed += 100;
		});
		mock.timers.tick(2 ** 31 - 1);
		assert.equal(passed, 0);
		cancel(); // also after the first part
		mock.timers.tick(30 * day - 2 ** 31);
		assert.equal(passed, 0);
		mock.timers.tick(1);
		assert.equal(passed, 1);
	} finally {
		mock.timers.reset();
	}
});
