import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { quiet, rejection, stage } from "./kernel.test-fixture.ts";
import type { KernelEvent } from "./kernel-event.ts";

test("inspection lists each actor: state, since when, by which message, depths, restarts, last error, transitions", async () => {
	const { ref, system, clock } = await stage({ store: memoryStore() });
	const start = clock.now();
	await rejection(ref.ask({ type: "explode" }, { deadlineMs: 10 }));
	await clock.advance(100);
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	await ref.tell({ type: "timer.wanted", name: "t", ms: 10 });
	void ref.ask({ type: "wait" }, { deadlineMs: 1_000 }).catch(() => undefined);
	void ref.ask({ type: "knock" }, { deadlineMs: 1_000 }).catch(() => undefined);
	await quiet();
	void ref.tell({ type: "number.seen", n: 1 });
	const [root, actor] = system.inspect();
	assert.deepEqual(root, {
		node: "supervisor",
		path: "/",
		status: "running",
		restarts: 0,
		strategy: "one_for_one",
		intensity: 100,
		periodMs: 5_000,
		children: 1,
	});
	assert.ok(actor?.node === "actor");
	const { transitions, busyMs, lastError, ...rest } = actor;
	assert.equal(busyMs, 0); // time stands still
	assert.equal(lastError?.code, "Internal");
	assert.deepEqual(rest, {
		node: "actor",
		path: "/a",
		kind: "probe",
		identity: { kind: "probe", id: "a" },
		durable: true,
		status: "running",
		restart: "permanent",
		restarts: 1,
		state: "busy",
		since: start + 100,
		by: "work",
		lastMessage: { type: "wait", time: start + 100 },
		mailbox: { system: 0, user: 1, capacity: 1_024 },
		stashed: 1,
		openRequests: 1,
		deadlines: [{ name: "t", due: start + 110 }],
		processed: 4,
	});
	assert.deepEqual(
		transitions.map(({ from, to, message }) => [from, message, to]),
		[
			[null, "started", "idle"],
			["idle", "restored", "idle"],
			["idle", "work", "busy"],
			["busy", "timer.wanted", "busy"],
			["busy", "wait", "busy"],
		],
	);
	await system.stop();
});

test("inspection of one actor lists the messages that wait", async () => {
	const { ref, system, clock } = await stage();
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	void ref.ask({ type: "wait" }, { deadlineMs: 5 }).catch(() => undefined);
	void ref.ask({ type: "knock" }, { deadlineMs: 7 }).catch(() => undefined);
	await quiet();
	void ref.tell({ type: "number.seen", n: 1 });
	const since = clock.now();
	assert.deepEqual(system.inspectOne("/a")?.waiting, [
		{ lane: "user", type: "number.seen", since },
		{ lane: "stash", type: "knock", since, due: since + 7 },
		{ lane: "open", type: "wait", since, due: since + 5 },
	]);
	assert.equal(system.inspectOne("/b"), undefined);
	await system.stop();
});

test("the history of an actor is bounded to its last 16 transitions", async () => {
	const { ref, system } = await stage();
	for (let n = 0; n < 40; n++) await ref.tell({ type: "number.seen", n });
	const inspection = system.inspectOne("/a");
	assert.equal(inspection?.node === "actor" && inspection.transitions.length, 16);
});

test("whoever watches sees transitions, crashes, restarts and dead letters as they happen", async () => {
	const { ref, system, clock } = await stage();
	const seen: KernelEvent[] = [];
	const unwatch = system.watch((event) => seen.push(event));
	await ref.tell({ type: "number.seen", n: 1 });
	await rejection(ref.tell({ type: "poison.taken" }));
	await clock.advance(100);
	unwatch();
	await ref.tell({ type: "number.seen", n: 2 });
	assert.deepEqual(
		seen.map(({ type }) => type),
		["transition", "crashed", "dead letter", "restarting", "transition"],
	);
});
