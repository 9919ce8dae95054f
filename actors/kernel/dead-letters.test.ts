import assert from "node:assert/strict";
import { test } from "node:test";
import { DeadLetterOffice } from "./dead-letters.ts";
import { rejection, stage } from "./kernel.test-fixture.ts";

test("a dead letter has the message, the reason and the actor's last transitions", async () => {
	const { ref, system, clock } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	await rejection(ref.ask({ type: "explode" }, { deadlineMs: 10 }));
	const time = clock.now();
	assert.deepEqual(system.deadLetters, [
		{
			time,
			path: "/a",
			message: { type: "explode" },
			reason: 'crashed in state "busy": boom',
			transitions: [
				{ time, from: null, to: "idle", message: "started" },
				{ time, from: "idle", to: "busy", message: "work" },
			],
		},
	]);
});

test("the dead-letter office is bounded and drops its oldest letter", () => {
	const office = new DeadLetterOffice(2);
	for (const type of ["a", "b", "c"])
		office.keep({ time: 0, path: "/x", message: { type }, reason: "", transitions: [] });
	assert.deepEqual(
		office.letters.map(({ message }) => message.type),
		["b", "c"],
	);
	assert.equal(office.total, 3);
});
