import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it, type TestContext } from "node:test";
import { digestOf } from "../../content/digest.ts";
import { LocalContentStore } from "../../content/local-content-store.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { NamespacedContent } from "../content.ts";
import { topicsOf } from "../events-of.test-fixture.ts";
import { ImageStore } from "../images.ts";
import { LeaseStore } from "../leases.ts";
import { MemorySnapshotter } from "../memory-snapshotter.test-fixture.ts";
import { systemClock } from "../scope.ts";
import { SnapshotStore } from "../snapshots.ts";
import { Snapshotters } from "../snapshotters.ts";
import { memoryStore } from "../store/memory-store.ts";
import type { Collection } from "./collect.ts";
import { GarbageCollector, type GarbageCollectorPolicy } from "./garbage-collector.ts";

const scope = { namespace: "ns" };
/** Nothing happens by itself. */
const quiet: Partial<GarbageCollectorPolicy> = {
	startupDelayMs: 3_600_000,
	scheduleDelayMs: 3_600_000,
};
const never = new AbortController().signal;

const make = async (t: TestContext, policy: Partial<GarbageCollectorPolicy> = quiet) => {
	const root = await mkdtemp(join(tmpdir(), "troupe-gc-"));
	const store = memoryStore();
	const backend = await LocalContentStore.open(root);
	const snapshotter = new MemorySnapshotter();
	const content = new NamespacedContent({ store, backend });
	const snapshots = new SnapshotStore({ store, snapshotter });
	const leases = new LeaseStore(store);
	const collections: Collection[] = [];
	const errors: DaemonError[] = [];
	let waiting: { count: number; resolve: () => void } | undefined;
	const collector = new GarbageCollector({
		store,
		content,
		snapshotters: new Snapshotters([snapshots]),
		leases,
		now: systemClock,
		policy,
		onCollection: (collection) => {
			collections.push(collection);
			if (waiting !== undefined && collections.length >= waiting.count) waiting.resolve();
		},
		onError: (error) => errors.push(error),
	});
	t.after(async () => {
		await collector.stop();
		await rm(root, { recursive: true });
	});
	/** Resolves when so many collections have ended; the test's own time limit is the deadline. */
	const ended = async (count: number): Promise<void> => {
		if (collections.length >= count) return;
		const { promise, resolve } = Promise.withResolvers<void>();
		waiting = { count, resolve };
		const alive = setInterval(() => undefined, 1_000); // the collector's own timers do not keep a process alive
		await promise.finally(() => clearInterval(alive));
	};
	const blob = async (text: string, labels = {}): Promise<string> => {
		const writer = await content.writer(scope, `put-${text}`);
		await writer.write(Buffer.from(text));
		return (await writer.commit({ labels })).digest;
	};
	const image = async (name: string, digest: string): Promise<void> => {
		const target = { mediaType: "m", digest, size: 1, annotations: {} };
		await new ImageStore(store).create(scope, { name, labels: {}, target });
	};
	return {
		...{ store, backend, snapshotter, content, snapshots, leases, collector },
		...{ collections, errors, ended, blob, image, images: new ImageStore(store) },
	};
};

it("one run removes metadata, bytes and files that nothing refers to, and tells of images and snapshots", async (t) => {
	const { collector, content, blob, image, backend, snapshots, snapshotter, store, leases } = await make(t);
	const layer = await blob("layer");
	const manifest = await blob("manifest", { "containerd.io/gc.ref.content.l.0": layer });
	const lost = await blob("lost");
	await image("kept", manifest);
	await snapshots.prepare(scope, "active");
	await snapshots.prepare(scope, "x");
	await snapshots.commit(scope, "base", "x");
	await snapshots.prepare(scope, "child", "base");
	await leases.create("ns", { id: "l", labels: {} });
	await leases.addResource("ns", "l", { type: "snapshots/memory", id: "active" });
	await leases.create("ns", { id: "old", labels: { "containerd.io/gc.expire": "2020-01-01T00:00:00Z" } });
	await leases.addResource("ns", "old", { type: "content", id: lost });

	const { removed, freed, left } = await collector.runOnce(never);

	assert.deepEqual(removed.map(({ kind, key }) => `${kind} ${key}`).sort(), [
		`content ${lost}`,
		"lease old",
		"snapshot memory/base",
		"snapshot memory/child",
	]);
	assert.deepEqual(left, []);
	assert.equal(freed.length, 3);
	assert.deepEqual(
		content.list("ns").map(({ digest }) => digest),
		[layer, manifest].sort(),
	);
	await assert.rejects(backend.info(lost), { code: "NotFound" });
	assert.equal(snapshotter.infos.size, 1);
	assert.throws(() => leases.listResources("ns", "old"), { code: "NotFound" });
	assert.deepEqual((await topicsOf(store)).slice(-2), ["/snapshot/remove", "/snapshot/remove"]);
	assert.deepEqual((await collector.runOnce(never)).removed, []);
});

it("removing an image frees its content; a shared layer stays with the other image", async (t) => {
	const { collector, content, blob, image, images } = await make(t);
	const shared = await blob("shared");
	const own = await blob("own");
	const labels = { "containerd.io/gc.ref.content.l.0": shared };
	await image("a", await blob("manifest a", { ...labels, "containerd.io/gc.ref.content.l.1": own }));
	await image("b", await blob("manifest b", labels));
	await images.delete(scope, "a");
	const { freed } = await collector.runOnce(never);
	assert.deepEqual([...freed].sort(), [own, digestOf("manifest a")].sort());
	assert.equal(content.list("ns").length, 2);
});

it("who asks during a run gets the next one, shared by all who asked", async (t) => {
	const { collector, collections, snapshots, snapshotter } = await make(t);
	await snapshots.prepare(scope, "unused");
	const entered = Promise.withResolvers<void>();
	const held = Promise.withResolvers<void>();
	snapshotter.gate = (method) => {
		if (method !== "remove") return Promise.resolve();
		entered.resolve();
		return held.promise;
	};
	const first = collector.runOnce(never);
	await entered.promise;
	const later = [collector.runOnce(never), collector.runOnce(never)];
	held.resolve();
	const [one, two, three] = await Promise.all([first, ...later]);
	assert.notEqual(one, two);
	assert.equal(two, three);
	assert.deepEqual(collections, [one, two]);
});

it("who gives up waiting does not end the run", async (t) => {
	const { collector, ended, snapshots, snapshotter } = await make(t);
	await snapshots.prepare(scope, "unused");
	const held = Promise.withResolvers<void>();
	snapshotter.gate = (method) => (method === "remove" ? held.promise : Promise.resolve());
	const caller = new AbortController();
	const waiting = collector.runOnce(caller.signal);
	caller.abort();
	await assert.rejects(waiting, { code: "Canceled" });
	held.resolve();
	await ended(1);
	assert.equal(snapshotter.infos.size, 0);
});

it("what could not be removed is reported, and removed by a later run", async (t) => {
	const { collector, snapshots, snapshotter } = await make(t);
	await snapshots.prepare(scope, "busy");
	const free = snapshotter.gate;
	snapshotter.gate = async (method, id) => {
		if (method === "remove") throw new DaemonError("Unavailable", { kind: "snapshot", id }, "device busy");
	};
	const { left } = await collector.runOnce(never);
	assert.deepEqual(
		left.map(({ error }) => error.problem),
		["device busy"],
	);
	snapshotter.gate = free;
	assert.equal((await collector.runOnce(never)).freed.length, 1);
});

it("it runs by itself after the start, and after deletions of images and of leases", async (t) => {
	const { ended, blob, image, images, leases, content } = await make(t, { startupDelayMs: 0, pauseThreshold: 0.5 });
	await ended(1);
	await image("a", await blob("manifest"));
	await leases.create("ns", { id: "l", labels: {} });
	await images.delete(scope, "a");
	await ended(2);
	assert.deepEqual(content.list("ns"), []);
	await leases.addResource("ns", "l", { type: "content", id: await blob("leased") });
	await leases.delete("ns", "l");
	await ended(3);
	assert.deepEqual(content.list("ns"), []);
});

it("a collection's own events do not start another", async (t) => {
	t.mock.timers.enable({ apis: ["setTimeout"] });
	const policy = { startupDelayMs: 3_600_000, pauseThreshold: 0.5, mutationThreshold: 3 };
	const { collector, collections, snapshots, store } = await make(t, policy);
	for (const key of ["a", "b"]) await snapshots.prepare(scope, key);
	await collector.runOnce(never);
	assert.equal((await topicsOf(store)).filter((topic) => topic === "/snapshot/remove").length, 2);
	t.mock.timers.tick(60_000); // a run that was due begins now, and the next would come after it
	await collector.runOnce(never);
	assert.equal(collections.length, 2);
});

it("a failed run is reported and tried again", async (t) => {
	const { collector, backend, errors, blob, content } = await make(t);
	await blob("x");
	const walk = backend.walk.bind(backend);
	backend.walk = () => {
		throw new DaemonError("Unavailable", { kind: "content", id: "" }, "disk is away");
	};
	await assert.rejects(collector.runOnce(never), { code: "Unavailable" });
	assert.deepEqual(
		errors.map(({ problem }) => problem),
		["disk is away"],
	);
	backend.walk = walk;
	assert.deepEqual((await collector.runOnce(never)).freed, [digestOf("x")]);
	assert.deepEqual(content.list("ns"), []);
});
