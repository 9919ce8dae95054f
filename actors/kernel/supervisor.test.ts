import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { type Restart, restoredChild, type Strategy, supervisorChild } from "./child-spec.ts";
import { manualClock, type ProbeRef, probe, quiet, rejection } from "./kernel.test-fixture.ts";
import { familyOf, life } from "./life.test-fixture.ts";
import { type System, startSystem } from "./system.ts";

const statuses = (system: System): string[] => [...system.inspect()].map(({ path, status }) => `${path} ${status}`);

test("children start in order and stop in reverse order", async () => {
	const { log, child } = life();
	const { system } = await familyOf({ children: ["a", "b", "c"].map((id) => child(id)) });
	await system.stop();
	await system.ended;
	assert.deepEqual(log, ["start a", "start b", "start c", "stop c", "stop b", "stop a"]);
});

test("a failed start of a child stops the children before it and fails the supervisor's start", async () => {
	const { log, child, failures } = life();
	failures.set("c", 1);
	const error = await rejection(familyOf({ children: ["a", "b", "c", "d"].map((id) => child(id)) }));
	assert.match(error.message, /life "c": no start/);
	assert.deepEqual(log, ["start a", "start b", "fail c", "stop b", "stop a"]);
});

/** Three restart types by the ways to end, as one table in OTP's supervisor_SUITE. */
const ends: readonly [Restart, string, Record<"normal" | "failed" | "stopped", boolean>][] = [
	["permanent", "a permanent child is restarted however it ended", { normal: true, failed: true, stopped: false }],
	["transient", "a transient child is restarted only if it failed", { normal: false, failed: true, stopped: false }],
	["temporary", "a temporary child is never restarted", { normal: false, failed: false, stopped: false }],
];
for (const [restart, name, table] of ends)
	test(name, async () => {
		for (const [how, restarted] of Object.entries(table)) {
			const lives = life();
			const { system, clock } = await familyOf({ children: [lives.child("a", restart)] });
			if (how === "stopped") await system.root.stop("a");
			else lives.end(system, "/a", how as "normal" | "failed");
			await clock.advance(1_000);
			const starts = lives.log.filter((line) => line === "start a").length;
			assert.equal(starts, restarted ? 2 : 1, `${restart} ${how}`);
			// a static child is kept, unless it is temporary: it may be started again by hand
			assert.deepEqual(system.root.ids(), restart === "temporary" ? [] : ["a"]);
			if (restart !== "temporary" && !restarted) {
				await system.root.restart("a");
				assert.equal(lives.log.at(-1), "start a");
			}
		}
	});

const strategies: readonly [Strategy, string, readonly string[]][] = [
	["one_for_one", "one_for_one restarts the failed child alone", ["start b"]],
	["one_for_all", "one_for_all restarts every child", ["stop c", "stop a", "start a", "start b", "start c"]],
	[
		"rest_for_one",
		"rest_for_one restarts the failed child and those started after it",
		["stop c", "start b", "start c"],
	],
];
for (const [strategy, name, expected] of strategies)
	test(name, async () => {
		const lives = life();
		const { system, clock } = await familyOf({ strategy, children: ["a", "b", "c"].map((id) => lives.child(id)) });
		lives.log.length = 0;
		lives.end(system, "/b", "failed");
		await clock.advance(1_000);
		assert.deepEqual(lives.log, expected);
	});

test("temporary siblings stopped by a group restart are not started again", async () => {
	const lives = life();
	const children = [lives.child("a"), lives.child("b", "temporary"), lives.child("c")];
	const { system, clock } = await familyOf({ strategy: "one_for_all", children });
	lives.log.length = 0;
	lives.end(system, "/a", "failed");
	await clock.advance(1_000);
	assert.deepEqual(lives.log, ["stop c", "stop b", "start a", "start c"]);
	assert.deepEqual(system.root.ids(), ["a", "c"]);
});

for (const strategy of ["one_for_one", "one_for_all", "rest_for_one"] as const)
	test(`more than intensity restarts within period escalate under ${strategy}`, async () => {
		const lives = life();
		const children = ["a", "b"].map((id) => lives.child(id));
		const backoff = { firstMs: 10, maxMs: 10 };
		const { system, clock } = await familyOf({ strategy, children, intensity: 2, periodMs: 1_000, backoff });
		const fail = async (ms: number) => {
			lives.end(system, "/a", "failed");
			await clock.advance(ms);
		};
		for (const ms of [500, 600, 300]) await fail(ms); // at the third, the first is out of the period
		assert.equal(system.root.find("a")?.path, "/a");
		await fail(300);
		const error = await rejection(system.ended);
		assert.match(error.message, /child "a" needed more than 2 restarts within 1000 ms/);
	});

test("a supervisor that gives up has stopped its children, and has failed for its own supervisor", async () => {
	const lives = life();
	const inner = {
		strategy: "one_for_one" as const,
		intensity: 0,
		children: ["a", "b", "c"].map((id) => lives.child(id)),
	};
	const { system, clock } = await familyOf({
		children: [supervisorChild({ id: "inner", supervisor: inner, restart: "transient" })],
	});
	lives.log.length = 0;
	lives.end(system, "/inner/b", "failed");
	await quiet();
	assert.deepEqual(lives.log, ["stop c", "stop a"]);
	assert.deepEqual(statuses(system).slice(0, 2), ["/ running", "/inner backoff"]);
	await clock.advance(1_000);
	assert.deepEqual(lives.log.slice(2), ["start a", "start b", "start c"]);
});

test("a failed restart counts as a restart and is tried again", async () => {
	const lives = life();
	const { system, clock } = await familyOf({ intensity: 3, children: [lives.child("a")] });
	lives.log.length = 0;
	lives.failures.set("a", 2);
	lives.end(system, "/a", "failed");
	await clock.advance(1_000);
	assert.deepEqual(lives.log, ["fail a", "fail a", "start a"]);
	assert.equal(system.inspectOne("/a")?.restarts, 3);
	lives.end(system, "/a", "failed");
	assert.match((await rejection(system.ended)).message, /more than 3 restarts/);
});

test("restarts wait with exponential backoff and jitter", async () => {
	const delays = async (random: () => number): Promise<number[]> => {
		const lives = life();
		const clock = manualClock();
		const root = { strategy: "one_for_one" as const, intensity: 100, children: [lives.child("a")] };
		const system = await startSystem({ clock, random, root });
		const waited: number[] = [];
		system.watch((event) => {
			if (event.type === "restarting") waited.push(event.delayMs);
		});
		for (let n = 0; n < 10; n++) {
			lives.end(system, "/a", "failed");
			await clock.advance(10_000);
		}
		return waited;
	};
	const whole = [50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
	assert.deepEqual(await delays(() => 0), whole);
	assert.deepEqual(
		await delays(() => 0.5),
		whole.map((ms) => ms * 0.75),
	);
});

test("a child that ran long enough starts anew with the first backoff", async () => {
	const lives = life();
	const { system, clock } = await familyOf({ intensity: 100, children: [lives.child("a")] });
	const waited: number[] = [];
	system.watch((event) => {
		if (event.type === "restarting") waited.push(event.delayMs);
	});
	for (const ran of [1_000, 1_000, 40_000, 1_000]) {
		lives.end(system, "/a", "failed");
		await clock.advance(ran);
	}
	assert.deepEqual(waited, [50, 100, 200, 50]);
});

test("a stop gets its turn while a restart waits", async () => {
	for (const strategy of ["one_for_one", "one_for_all"] as const) {
		const lives = life();
		const { system, clock } = await familyOf({ strategy, children: [lives.child("a"), lives.child("b")] });
		lives.end(system, "/a", "failed");
		await quiet();
		await system.stop();
		assert.equal(clock.timers, 0);
		await clock.advance(1_000);
		assert.deepEqual(lives.log, ["start a", "start b", "stop b"]);
	}
});

test("a child gets its shutdown time to stop, then is cut off", async () => {
	const lives = life();
	lives.stubborn.add("a");
	const { system, clock } = await familyOf({ children: [lives.child("a", "permanent", 100)] });
	const stopped = system.stop();
	await clock.advance(99);
	assert.deepEqual(statuses(system), ["/ stopping", "/a stopping"]);
	await clock.advance(1);
	await stopped;
	assert.deepEqual(statuses(system), ["/ stopped", "/a stopped"]);
});

test("a supervisor that exceeds its own shutdown time has its children cut off", async () => {
	const lives = life();
	lives.stubborn.add("a");
	const inner = { strategy: "one_for_one" as const, children: [lives.child("a", "permanent", 5_000)] };
	const { system, clock } = await familyOf({
		children: [supervisorChild({ id: "inner", supervisor: inner, shutdown: 100 })],
	});
	const stopped = system.stop();
	await clock.advance(100);
	await stopped;
	assert.deepEqual(statuses(system), ["/ stopped", "/inner stopped", "/inner/a stopped"]);
});

test("a brutal child is cut off at once", async () => {
	const lives = life();
	lives.stubborn.add("a");
	const { system } = await familyOf({ children: [lives.child("a", "permanent", "brutal")] });
	await system.stop();
	assert.deepEqual(lives.log, ["start a"]);
});

test("dynamic children start at any time and are forgotten when they have ended", async () => {
	const lives = life();
	const { system } = await familyOf({ children: [] });
	const ref = await system.root.start(lives.child("default/web", "transient"));
	assert.equal(ref.path, "/default/web");
	assert.equal(system.find("/default/web"), ref);
	lives.end(system, "/default/web", "normal");
	await quiet();
	assert.equal(system.find("/default/web"), undefined);
	await system.root.start(lives.child("default/web", "transient"));
	await system.root.stop("default/web");
	assert.deepEqual(system.root.ids(), []);
	lives.failures.set("default/web", 1);
	await rejection(system.root.start(lives.child("default/web")));
	assert.deepEqual(system.root.ids(), []);
	await system.stop();
	assert.equal((await rejection(system.root.start(lives.child("x")))).code, "Unavailable");
});

test("a second dynamic child with the same id is refused with AlreadyExists", async () => {
	const lives = life();
	const { system } = await familyOf({ children: [] });
	const [first, second] = await Promise.allSettled([
		system.root.start(lives.child("a")),
		system.root.start(lives.child("a")),
	]);
	assert.equal(first.status, "fulfilled");
	assert.equal(second.status === "rejected" && second.reason.code, "AlreadyExists");
	assert.deepEqual(lives.log, ["start a"]);
});

test("a child that was started from its record is a dynamic one, and forgotten like it", async () => {
	const store = memoryStore();
	const logic = probe([], true);
	const spec = { ...restoredChild({ id: "a", logic, restart: "transient" }), start: { input: { n: 1 } } };
	const before = await startSystem({ store, root: { strategy: "one_for_one" } });
	await before.root.start(spec);
	await before.stop();
	const children = [restoredChild({ id: "a", logic, restart: "transient" })];
	const { root } = await startSystem({ store, root: { strategy: "one_for_one", children } });
	await root.find<ProbeRef>("a")?.ask({ type: "finish" }, { deadlineMs: 1_000 });
	await quiet();
	assert.deepEqual(root.ids(), []);
	await root.start(spec);
	assert.deepEqual(root.ids(), ["a"]);
});

test("children that are a function are computed anew at each start of the supervisor", async () => {
	const store = memoryStore();
	const logic = probe([], true);
	const inner = {
		strategy: "one_for_one" as const,
		intensity: 0,
		children: (reader: typeof store | { entries: typeof store.entries }) =>
			[...reader.entries("v1/test/probe/")].map(([key]) => restoredChild({ id: key.slice(14), logic })),
	};
	const clock = manualClock();
	const root = { strategy: "one_for_one" as const, children: [supervisorChild({ id: "inner", supervisor: inner })] };
	const first = await startSystem({ clock, store, root });
	const supervisor = first.supervisor("/inner");
	for (const id of ["a", "b"]) {
		const spec = { ...restoredChild({ id, logic }), start: { input: { n: id.length } } };
		await supervisor?.start(spec);
	}
	const a = first.find<ProbeRef>("/inner/a") as ProbeRef;
	await rejection(a.tell({ type: "poison.taken" }));
	await clock.advance(1_000);
	assert.deepEqual(supervisor?.ids(), ["a", "b"]);
	assert.equal(first.find("/inner/a"), a);
	await first.stop();
	const second = await startSystem({ clock, store, root });
	assert.deepEqual(second.supervisor("/inner")?.ids(), ["a", "b"]);
});

test("references to the children of a restarted supervisor stay valid", async () => {
	const lives = life();
	const inner = { strategy: "one_for_one" as const, intensity: 0, children: [lives.child("a"), lives.child("b")] };
	const { system, clock } = await familyOf({ children: [supervisorChild({ id: "inner", supervisor: inner })] });
	const b = system.find("/inner/b");
	const dynamic = await system.supervisor("/inner")?.start(lives.child("c"));
	lives.end(system, "/inner/a", "failed");
	await quiet();
	const told = b?.tell({ type: "weather.changed" }); // waits for the restart
	await clock.advance(1_000);
	await told;
	assert.equal(system.find("/inner/b"), b);
	// a dynamic child is not in the specification: it is gone, and says so
	assert.equal((await rejection(dynamic?.tell({ type: "life.ended" }) ?? Promise.resolve())).code, "NotFound");
});

test("the root that gives up ends the system with its error", async () => {
	const lives = life();
	const { system } = await familyOf({ intensity: 0, children: [lives.child("a"), lives.child("b")] });
	lives.end(system, "/a", "failed");
	const error = await rejection(system.ended);
	assert.equal(error.message, 'supervisor "/": child "a" needed more than 0 restarts within 5000 ms');
	assert.match(String(error.cause), /boom/);
	assert.deepEqual(lives.log, ["start a", "start b", "stop b"]);
	await system.stop();
});

test("a start that never ends has failed after 30 s", async () => {
	const clock = manualClock();
	const store = memoryStore({ beforeCommit: () => new Promise(() => undefined) });
	const logic = probe([], true);
	const spec = { ...restoredChild({ id: "a", logic }), start: { input: { n: 0 } } };
	const failed = rejection(startSystem({ clock, store, root: { strategy: "one_for_one", children: [spec] } }));
	await clock.advance(30_000);
	assert.equal((await failed).code, "DeadlineExceeded");
});
