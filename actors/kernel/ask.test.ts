import assert from "node:assert/strict";
import { test } from "node:test";
import { quiet, rejection, stage } from "./kernel.test-fixture.ts";

test("an ask resolves with the value of the reply, and with null for a reply without one", async () => {
	const { ref } = await stage();
	assert.equal(await ref.ask({ type: "echo", text: "hello" }, { deadlineMs: 100 }), "hello");
	assert.equal(await ref.ask({ type: "work" }, { deadlineMs: 100 }), null);
});

test("an ask that is refused rejects with the code and the problem of the refusal and the identity of the actor", async () => {
	const { ref } = await stage();
	const error = await rejection(ref.ask({ type: "decline" }, { deadlineMs: 100 }));
	assert.equal(error.code, "AlreadyExists");
	assert.equal(error.message, 'probe "a": no, thank you');
});

test("an ask rejects with DeadlineExceeded when its deadline passes", async () => {
	const { ref, clock } = await stage();
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 100 }));
	await clock.advance(100);
	const error = await asked;
	assert.equal(error.code, "DeadlineExceeded");
	assert.match(error.message, /no answer to wait within 100 ms, in state "idle"/);
});

test("an ask rejects with Canceled when its signal is aborted", async () => {
	const { ref } = await stage();
	const caller = new AbortController();
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 100, signal: caller.signal }));
	caller.abort();
	assert.equal((await asked).code, "Canceled");
	assert.equal(
		(await rejection(ref.ask({ type: "wait" }, { deadlineMs: 100, signal: caller.signal }))).code,
		"Canceled",
	);
});

test("a request whose asker went away before the actor took it is withdrawn from the mailbox", async () => {
	const { ref, system, said } = await stage();
	const caller = new AbortController();
	const asked = rejection(ref.ask({ type: "knock" }, { deadlineMs: 100, signal: caller.signal }));
	caller.abort();
	await asked;
	assert.deepEqual(system.inspectOne("/a")?.waiting, []);
	await quiet();
	assert.deepEqual(said, ["born 0"]);
});

test("a request whose asker went away after the actor took it is followed by `request.cancelled`", async () => {
	const { ref, said } = await stage();
	const caller = new AbortController();
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 100, signal: caller.signal }));
	await quiet();
	caller.abort();
	await asked;
	await quiet();
	assert.match(said[1] ?? "", /^cancelled /);
});

test("a late reply is counted and dropped", async () => {
	const { ref, clock, system } = await stage();
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 100 }));
	await clock.advance(100);
	await asked;
	await ref.tell({ type: "answer.found", text: "42" });
	await quiet();
	assert.equal(system.counters.lateReplies, 1);
});

test("a second reply to the same request is counted and dropped", async () => {
	const { ref, system } = await stage();
	assert.equal(await ref.ask({ type: "twice" }, { deadlineMs: 100 }), 1);
	assert.equal(system.counters.lateReplies, 1);
});

test("requests that are open when their actor ends are refused with Aborted", async () => {
	const { ref } = await stage({ spec: { restart: "temporary" } });
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 100 }));
	await ref.ask({ type: "finish" }, { deadlineMs: 100 });
	const error = await asked;
	assert.equal(error.code, "Aborted");
	assert.match(error.message, /ended without an answer to wait/);
});

test("an ask leaves no timer behind", async () => {
	const { ref, clock } = await stage();
	await ref.ask({ type: "echo", text: "" }, { deadlineMs: 100 });
	assert.equal(clock.timers, 0);
});
