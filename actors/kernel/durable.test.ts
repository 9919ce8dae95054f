import assert from "node:assert/strict";
import { test } from "node:test";
import { initialTransition, transition } from "xstate";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { child, restoredChild } from "./child-spec.ts";
import { probe, probeMachine, quiet, rejection, stage } from "./kernel.test-fixture.ts";
import { startSystem } from "./system.ts";

const key = "v1/test/probe/a";

test("a durable actor whose record exists is restored from it and told `restored` before anything else", async () => {
	const store = memoryStore();
	const before = await stage({ store });
	await before.ref.tell({ type: "number.seen", n: 5 });
	await before.ref.ask({ type: "work" }, { deadlineMs: 10 });
	await before.system.stop();
	const after = await stage({ store });
	await after.ref.tell({ type: "number.seen", n: 6 });
	await quiet();
	assert.deepEqual(after.said, ["restored 5", "seen 6"]);
	const inspection = after.system.inspectOne("/a");
	assert.equal(inspection?.node === "actor" && inspection.state, "busy");
});

test("a restored actor repeats no entry action and no effect", async () => {
	const store = memoryStore();
	const before = await stage({ store });
	await before.ref.tell({ type: "number.seen", n: 5 });
	await before.system.stop();
	const after = await stage({ store });
	await quiet();
	assert.deepEqual(after.said, ["restored 5"]);
});

test("a final state ends the actor and deletes its record in the same batch", async () => {
	const batches: (readonly [string, boolean])[][] = [];
	const store = memoryStore({
		beforeCommit: ({ changes }) => void batches.push([...changes].map(([name, value]) => [name, value !== undefined])),
	});
	const { ref, system } = await stage({ store, spec: { restart: "transient" } });
	await ref.ask({ type: "finish" }, { deadlineMs: 10 });
	await quiet();
	assert.deepEqual(batches, [[[key, true]], [[key, false]]]);
	assert.equal(system.inspectOne("/a")?.status, "ended");
	assert.deepEqual(
		(await store.journal.read(1, 10)).map(({ body }) => (body as { to: string }).to),
		["finished"],
	);
});

test("a record of another schema goes through migrate, or the start fails", async () => {
	const store = memoryStore();
	const before = await stage({ store });
	await before.ref.tell({ type: "number.seen", n: 5 });
	await before.system.stop();
	const durable = { schema: 2, key: () => key };
	const failed = await rejection(stage({ store, definition: { durable } }));
	assert.equal(failed.code, "FailedPrecondition");
	assert.match(failed.message, /its record has schema 1, this version reads 2/);
	const { ref } = await stage({
		store,
		definition: {
			durable: {
				...durable,
				migrate: ({ value, context }, schema) => ({ value, context: { ...(context as object), n: 100 + schema } }),
			},
		},
	});
	assert.equal(await ref.ask({ type: "knock" }, { deadlineMs: 10 }), 101);
});

test("a damaged record fails the start with DataLoss", async () => {
	const store = memoryStore();
	await store.update((transaction) => transaction.put(key, { nonsense: true }));
	assert.equal((await rejection(stage({ store }))).code, "DataLoss");
});

test("an actor started from its record alone fails with NotFound when there is none", async () => {
	const store = memoryStore();
	const logic = probe([], true);
	const system = await startSystem({ store, root: { strategy: "one_for_one" } });
	const error = await rejection(system.root.start(restoredChild({ id: "a", logic })));
	assert.equal(error.code, "NotFound");
	await system.root.start(child({ id: "a", logic, input: { n: 1 } }));
	await system.root.stop("a");
	const ref = await system.root.start(restoredChild({ id: "a", logic }));
	assert.equal(await ref.ask({ type: "knock" }, { deadlineMs: 100 }), 1);
	await system.stop();
});

test("a durable actor in a system without a store does not start", async () => {
	const spec = child({ id: "a", logic: probe([], true), input: { n: 0 } });
	const error = await rejection(startSystem({ root: { strategy: "one_for_one", children: [spec] } }));
	assert.equal(error.code, "FailedPrecondition");
});

test("a new actor does not start before the commit of its predecessor has settled", async () => {
	let release = (): void => undefined;
	let held: Promise<void> | undefined;
	const store = memoryStore({ beforeCommit: () => held });
	const { ref, system, said } = await stage({ store, spec: { shutdown: "brutal" } });
	held = new Promise((resolve) => {
		release = resolve;
	});
	const told = ref.tell({ type: "number.seen", n: 5 });
	await quiet();
	await system.root.stop("a");
	const restarted = system.root.restart("a");
	await quiet();
	assert.equal(system.inspectOne("/a")?.status, "starting");
	held = undefined;
	release();
	await told; // durable, and therefore acknowledged, though the actor that took it is gone
	await restarted;
	await quiet();
	assert.deepEqual(said, ["born 0", "restored 5"]);
});

test("the journal holds each transition: machine, from, to and message", async () => {
	const store = memoryStore();
	const { ref } = await stage({ store, spec: { identity: { kind: "probe", namespace: "test", id: "a" } } });
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const records = await store.journal.read(0, 10);
	assert.deepEqual(
		records.map(({ kind, namespace, subject }) => [kind, namespace, subject]),
		[
			["transition", "test", "/a"],
			["transition", "test", "/a"],
		],
	);
	const [first, second] = records.map(({ body }) => body as { message: { request?: string } });
	assert.deepEqual(first, { machine: "probe", from: null, to: "idle", message: { type: "started", input: { n: 0 } } });
	const request = second?.message.request;
	assert.deepEqual(second, { machine: "probe", from: "idle", to: "busy", message: { type: "work", request } });
});

test("replaying the journal's messages through the machine leads to the same state", async () => {
	const store = memoryStore();
	const { ref } = await stage({ store });
	await ref.tell({ type: "number.seen", n: 5 });
	await ref.ask({ type: "work" }, { deadlineMs: 10 });
	const knocked = ref.ask({ type: "knock" }, { deadlineMs: 10 });
	await ref.tell({ type: "number.seen", n: 6 });
	await ref.tell({ type: "work.done" });
	await knocked;
	const [first, ...others] = (await store.journal.read(0, 100))
		.filter(({ kind }) => kind === "transition")
		.map(
			({ body }) => (body as unknown as { message: { type: "number.seen"; n: number; input: { n: number } } }).message,
		);
	assert.ok(first !== undefined);
	let [snapshot] = initialTransition(probeMachine, first.input);
	for (const message of others) [snapshot] = transition(probeMachine, snapshot, message);
	const record = store.get(key) as { value: string; context: unknown };
	assert.deepEqual([snapshot.value, snapshot.context], [record.value, { ...(record.context as object) }]);
});

test("since when, and by which message, is told after a restart of the process too", async () => {
	const store = memoryStore();
	const before = await stage({ store });
	await before.ref.ask({ type: "work" }, { deadlineMs: 10 });
	const since = before.clock.now();
	await before.clock.advance(500);
	await before.ref.tell({ type: "number.seen", n: 1 });
	await before.system.stop();
	const after = await stage({ store });
	await after.clock.advance(1_000);
	const inspection = after.system.inspectOne("/a");
	assert.deepEqual(inspection?.node === "actor" && [inspection.since, inspection.by], [since, "work"]);
});

test("an actor cut off while its final step was on the way to the disk has ended", async () => {
	let release = (): void => undefined;
	let held: Promise<void> | undefined;
	const store = memoryStore({ beforeCommit: () => held });
	const { ref, system, said } = await stage({ store, spec: { shutdown: "brutal", restart: "transient" } });
	held = new Promise((resolve) => {
		release = resolve;
	});
	const told = ref.tell({ type: "life.over" });
	await quiet();
	await system.root.stop("a");
	const restarted = system.root.restart("a");
	held = undefined;
	release();
	await Promise.all([told, restarted]);
	await quiet();
	assert.equal(system.inspectOne("/a")?.status, "ended");
	assert.equal(store.get(key), undefined);
	assert.deepEqual(said, ["born 0"]);
});
