import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SharedWork } from "./shared-work.ts";

const never = new AbortController().signal;
const ignore = (): void => undefined;

describe("shared work", () => {
	test("it is done once for all who want it, and all hear how far it is", async () => {
		const shared = new SharedWork();
		const gate = Promise.withResolvers<void>();
		let runs = 0;
		const heard: number[][] = [[], []];
		const work = async (_: AbortSignal, report: (progress: number) => void): Promise<void> => {
			runs++;
			await gate.promise;
			report(7);
		};
		const all = [0, 1].map((at) => shared.run("k", work, never, (progress) => heard[at]?.push(progress)));
		gate.resolve();
		await Promise.all(all);
		assert.deepEqual([runs, heard], [1, [[7], [7]]]);
		await shared.run("k", work, never, ignore);
		assert.equal(runs, 2);
	});

	test("it ends when the last one leaves, not before, and has ended when that one hears of it", async () => {
		const shared = new SharedWork();
		let ended = false;
		const work = (signal: AbortSignal): Promise<void> =>
			new Promise((_, reject) =>
				signal.addEventListener("abort", () =>
					setImmediate(() => {
						ended = true;
						reject(signal.reason);
					}),
				),
			);
		const aborts = [new AbortController(), new AbortController()];
		const [one, two] = aborts.map(({ signal }) => assert.rejects(shared.run("k", work, signal, ignore), /left/));
		aborts[0]?.abort(new Error("left"));
		await one;
		assert.equal(ended, false);
		aborts[1]?.abort(new Error("left"));
		await two;
		assert.equal(ended, true);
	});

	test("its failure is everybody's", async () => {
		const shared = new SharedWork();
		const work = async (): Promise<void> => {
			await Promise.resolve();
			throw new Error("broken");
		};
		const both = [1, 2].map(() => assert.rejects(shared.run("k", work, never, ignore), /broken/));
		await Promise.all(both);
	});
});
