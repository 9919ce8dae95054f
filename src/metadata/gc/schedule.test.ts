import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it, type TestContext } from "node:test";
import { LocalContentStore } from "../../content/local-content-store.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { NamespacedContent } from "../content.ts";
import { topicsOf } from "../events-of.test-fixture.ts";
import { ImageStore } from "../images.ts";
import { LeaseStore } from "../leases.ts";
import { MemorySnapshotter } from "../memory-snapshotter.test-fixture.ts";
import { SnapshotStore } from "../snapshots.ts";
import { Snapshotters } from "../snapshotters.ts";
import { memoryStore } from "../store/memory-store.ts";
import type { Collection } from "./collect.ts";
import { GarbageCollector, type GarbageCollectorPolicy } from "./garbage-collector.ts";
import { ManualTime } from "./manual-time.test-fixture.ts";

const scope = { namespace: "ns" };
const never = new AbortController().signal;
/** The collector's own check for what has expired. */
const expiryCheck = 60_000;

async function make(t: TestContext, policy: Partial<GarbageCollectorPolicy> = {}) {
	const root = await mkdtemp(join(tmpdir(), "troupe-gc-"));
	const store = memoryStore();
	const time = new ManualTime();
	const backend = await LocalContentStore.open(root);
	const snapshotter = new MemorySnapshotter();
	const content = new NamespacedContent({ store, backend });
	const snapshots = new SnapshotStore({ store, snapshotter });
	const leases = new LeaseStore(store);
	const images = new ImageStore(store);
	const errors: DaemonError[] = [];
	const wall = { now: BigInt(Date.parse("2026-01-01T00:00:00Z")) * 1_000_000n };
	let onCollection: (collection: Collection) => void = () => undefined;
	const collector = new GarbageCollector({
		...{ store, content, leases, policy, time },
		snapshotters: new Snapshotters([snapshots]),
		now: () => wall.now,
		onCollection: (collection) => onCollection(collection),
		onError: (error) => errors.push(error),
	});
	t.after(async () => {
		await collector.stop();
		assert.deepEqual(time.due, [], "no timer is left");
		await rm(root, { recursive: true });
	});
	return {
		...{ backend, collector, content, errors, images, leases, snapshots, snapshotter, store, time, wall },
		/** The next collection that ends; what is to start it comes after. */
		nextCollection: () => new Promise<Collection>((resolve) => (onCollection = resolve)),
		watch: (listener: (collection: Collection) => void) => (onCollection = listener),
		createImage: (name: string) => {
			const target = { mediaType: "m", digest: `sha256:${"a".repeat(64)}`, size: 1, annotations: {} };
			return images.create(scope, { name, labels: {}, target });
		},
		/** Milliseconds until the collector starts by itself; undefined for never. */
		due: () => time.due.find((ms) => ms === 0 || (time.now() + ms) % expiryCheck !== 0),
	};
}

it("the first collection comes after the delay of the start", async (t) => {
	const { time, due, nextCollection } = await make(t, { startupDelayMs: 100 });
	assert.equal(due(), 100);
	const collection = nextCollection();
	time.advance(100);
	await collection;
	assert.equal(due(), undefined);
});

it("after a deletion the pause is as long as the part of the time that may be spent allows", async (t) => {
	const { collector, images, createImage, due } = await make(t, { pauseThreshold: 0.02 });
	await collector.runOnce(never);
	await createImage("a");
	assert.equal(due(), undefined);
	await images.delete(scope, "a");
	assert.equal(due(), 245); // 5 ms at least are counted for a collection: 5 / 0.02 - 5
});

it("the threshold of deletions cuts the pause short, but not the schedule's delay", async (t) => {
	const { collector, images, createImage, due } = await make(t, { deletionThreshold: 2, scheduleDelayMs: 10 });
	await collector.runOnce(never);
	for (const name of ["a", "b"]) await createImage(name);
	await images.delete(scope, "a");
	assert.equal(due(), 245);
	await images.delete(scope, "b");
	assert.equal(due(), 10);
});

it("a deletion after the start waits for the first collection; the threshold of deletions does not", async (t) => {
	const { images, createImage, due } = await make(t, { startupDelayMs: 59_999, deletionThreshold: 2 });
	for (const name of ["a", "b"]) await createImage(name);
	await images.delete(scope, "a");
	assert.equal(due(), 59_999);
	await images.delete(scope, "b");
	assert.equal(due(), 0);
});

it("the threshold of changes starts one without a deletion; 0 never does", async (t) => {
	for (const [mutationThreshold, expected] of [
		[3, 245],
		[0, undefined],
	] as const) {
		const { collector, createImage, due } = await make(t, { mutationThreshold });
		await collector.runOnce(never);
		for (const name of ["a", "b"]) await createImage(name);
		assert.equal(due(), undefined);
		await createImage("c");
		assert.equal(due(), expected);
	}
});

it("what expires without an event is found by the check of each minute", async (t) => {
	const { collector, leases, time, wall, due, nextCollection } = await make(t);
	await collector.runOnce(never);
	await leases.create("ns", { id: "l", labels: { "containerd.io/gc.expire": "2026-01-01T00:00:30Z" } });
	time.advance(expiryCheck);
	assert.equal(due(), undefined);
	wall.now += 60_000_000_000n;
	const collection = nextCollection();
	time.advance(expiryCheck);
	assert.deepEqual(
		(await collection).removed.map(({ key }) => key),
		["l"],
	);
});

it("a failed collection is tried again after a second", async (t) => {
	const { backend, collector, errors, time, due, nextCollection } = await make(t);
	const walk = backend.walk;
	backend.walk = () => {
		throw new DaemonError("Unavailable", { kind: "content", id: "" }, "disk is away");
	};
	await assert.rejects(collector.runOnce(never), { code: "Unavailable" });
	assert.equal(errors.length, 1);
	assert.equal(due(), 1_000);
	backend.walk = walk;
	const collection = nextCollection();
	time.advance(1_000);
	await collection;
	assert.equal(due(), undefined);
});

it("a backend that fails does not leave another's sweep behind", async (t) => {
	const { backend, collector, snapshots, snapshotter } = await make(t);
	await snapshots.prepare(scope, "unused");
	backend.walk = () => {
		throw new DaemonError("Unavailable", { kind: "content", id: "" }, "disk is away");
	};
	const entered = Promise.withResolvers<void>();
	const held = Promise.withResolvers<void>();
	snapshotter.gate = (method) => {
		if (method === "remove") entered.resolve();
		return method === "remove" ? held.promise : Promise.resolve();
	};
	let ended = false;
	const run = assert.rejects(collector.runOnce(never), { code: "Unavailable" }).then(() => {
		ended = true;
	});
	await entered.promise;
	for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
	assert.equal(ended, false);
	held.resolve();
	await run;
	assert.equal(snapshotter.infos.size, 0);
});

it("two collections never run at once, even if one is asked for as another ends", async (t) => {
	const { collector, snapshots, snapshotter, watch } = await make(t);
	let running = 0;
	let most = 0;
	snapshotter.cleanup = async () => {
		running++;
		most = Math.max(most, running);
		await new Promise(setImmediate);
		running--;
	};
	const asked: Promise<Collection>[] = [];
	watch(() => {
		snapshots.needsSweep = true;
		if (asked.length < 4) asked.push(collector.runOnce(never));
	});
	await Promise.all([collector.runOnce(never), collector.runOnce(never)]);
	for (const one of asked) await one; // each end asks for another, up to four
	assert.equal(asked.length, 4);
	assert.equal(most, 1);
});

it("what a commit under a lease makes during a collection stays, with its bytes", async (t) => {
	const { backend, collector, content, leases } = await make(t);
	await leases.create("ns", { id: "l", labels: {} });
	const bytes = Buffer.from("made meanwhile");
	const walk = backend.walk.bind(backend);
	let digest = "";
	// Between mark and sweep, and again while the backend is walked.
	backend.walk = async function* () {
		const writer = await content.writer({ ...scope, lease: "l" }, "ref");
		await writer.write(bytes);
		digest = (await writer.commit()).digest;
		yield* walk();
	};
	await collector.runOnce(never);
	backend.walk = walk;
	await collector.runOnce(never);
	assert.deepEqual(Buffer.from(await content.readAll("ns", digest, 100)), bytes);
});

it("of images and snapshots that go, events tell in the transaction that removes them; of content none does", async (t) => {
	const { collector, content, images, snapshots, store } = await make(t);
	const writer = await content.writer(scope, "ref");
	await writer.write(Buffer.from("x"));
	const target = { mediaType: "m", digest: (await writer.commit()).digest, size: 1, annotations: {} };
	await images.create(scope, { name: "old", labels: { "containerd.io/gc.expire": "2020-01-01T00:00:00Z" }, target });
	await snapshots.prepare(scope, "unused");
	const before = (await topicsOf(store)).length;
	await collector.runOnce(never);
	assert.deepEqual((await topicsOf(store)).slice(before).sort(), ["/images/delete", "/snapshot/remove"]);
	assert.deepEqual(content.list("ns"), []);
});
