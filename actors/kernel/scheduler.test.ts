import assert from "node:assert/strict";
import { test } from "node:test";
import { Scheduler } from "./scheduler.ts";

test("actors take messages in turn", async () => {
	const scheduler = new Scheduler();
	const taken: string[] = [];
	const actor = (name: string, left: number) => (): void => {
		taken.push(name);
		if (left > 1) scheduler.schedule(actor(name, left - 1));
	};
	scheduler.schedule(actor("a", 3));
	scheduler.schedule(actor("b", 2));
	await Promise.resolve();
	assert.deepEqual(taken, ["a", "b", "a", "b", "a"]);
});

test("actors that never stop talking to each other leave the event loop its turns", async () => {
	const scheduler = new Scheduler();
	let taken = 0;
	let stopped = false;
	const talk = (): void => {
		taken++;
		if (!stopped) scheduler.schedule(talk);
	};
	for (let n = 0; n < 700; n++) scheduler.schedule(talk); // more than one turn's worth
	while (taken < 5_000) await new Promise((resolve) => setImmediate(resolve));
	stopped = true;
});
