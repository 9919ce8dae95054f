import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Intensity } from "./intensity.ts";

test("a restart exactly a period ago still counts, as in supervisor.erl", () => {
	const once = new Intensity(1, 100);
	assert.deepEqual([once.allows(0), once.allows(100)], [true, false]);
	const again = new Intensity(1, 100);
	assert.deepEqual([again.allows(0), again.allows(101)], [true, true]);
});

test("an intensity allows a restart as long as no more than so many lie within any period", () => {
	fc.assert(
		fc.property(
			fc.nat(5),
			fc.integer({ min: 1, max: 50 }),
			fc.array(fc.nat(30), { maxLength: 40 }),
			(n, period, waits) => {
				const intensity = new Intensity(n, period);
				const times: number[] = [];
				let now = 0;
				for (const wait of waits) {
					now += wait;
					times.push(now);
					assert.equal(intensity.allows(now), times.filter((at) => at >= now - period).length <= n);
				}
			},
		),
	);
});
