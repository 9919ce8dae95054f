import assert from "node:assert/strict";
import { it } from "node:test";
import { Turns } from "./turns.ts";

it("work on one key runs in the order of asking, on different keys at the same time; a failure stops nobody", async () => {
	const turns = new Turns();
	const log: string[] = [];
	const held = Promise.withResolvers<void>();
	const first = turns.run("a", async () => {
		log.push("a1 begins");
		await held.promise;
		log.push("a1 fails");
		throw new Error("a1");
	});
	const second = turns.run("a", async () => log.push("a2"));
	await turns.run("b", async () => log.push("b"));
	held.resolve();
	await assert.rejects(first, /a1/);
	await second;
	assert.deepEqual(log, ["a1 begins", "b", "a1 fails", "a2"]);
});

it("two that need the same two keys, named in opposite order, do not wait for each other for ever", async () => {
	const turns = new Turns();
	const log: number[] = [];
	await Promise.all([
		turns.runBoth("a", "b", async () => log.push(1)),
		turns.runBoth("b", "a", async () => log.push(2)),
		turns.runBoth("a", "a", async () => log.push(3)),
	]);
	assert.deepEqual(log.sort(), [1, 2, 3]);
});
