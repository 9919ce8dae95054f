import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { manualClock } from "../kernel/kernel.test-fixture.ts";
import type { LayerPlan } from "./image-repository.ts";
import { LayerProgress } from "./layer-progress.ts";
import { PullProgress, type PullState } from "./pull-progress.ts";

const layer = (digest: string, size: number): LayerPlan => ({
	mediaType: "",
	digest,
	size,
	diffId: "",
	chainId: "",
	parentChainId: "",
});

describe("progress of a pull", () => {
	test("a subscriber hears the first state at once, then at most ten a second, and the last", async () => {
		const clock = manualClock();
		const progress = new PullProgress(clock);
		const heard: PullState[] = [];
		const unsubscribe = progress.subscribe((state) => heard.push(state));
		progress.expect([layer("a", 100)]);
		const download = new LayerProgress();
		progress.follow(0, download, () => undefined);
		for (let offset = 1; offset <= 50; offset++) download.set("downloading", offset);
		assert.equal(heard.length, 1);
		await clock.advance(100);
		assert.equal(heard.length, 2);
		assert.deepEqual(heard[1]?.layers, [{ digest: "a", phase: "downloading", offset: 50, total: 100 }]);
		await clock.advance(1_000);
		assert.equal(heard.length, 2);
		download.set("done", 100);
		assert.equal(heard.length, 3);
		progress.phase("done");
		unsubscribe();
		assert.equal(heard.at(-1)?.phase, "done");
		progress.phase("resolving");
		assert.equal(heard.length, 4);
		assert.equal(clock.timers, 0);
	});

	test("every change of a layer is told to who follows it, until the pull lets go", () => {
		const progress = new PullProgress(manualClock());
		progress.expect([layer("a", 1), layer("b", 2)]);
		const download = new LayerProgress();
		let moves = 0;
		progress.follow(1, download, () => moves++);
		download.set("downloading", 1);
		download.set("downloading", 1);
		progress.close();
		download.set("done", 2);
		assert.equal(moves, 2); // where it was, and one change
		assert.equal(progress.state.layers[1]?.offset, 1);
	});
});
