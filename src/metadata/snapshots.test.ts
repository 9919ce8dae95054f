import assert from "node:assert/strict";
import { it } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import { SnapshotPrepare } from "../gen/containerd/events/snapshot.ts";
import { eventsOf, topicsOf } from "./events-of.test-fixture.ts";
import { labelContract } from "./labels.test-suite.ts";
import { LeaseStore } from "./leases.ts";
import { MemorySnapshotter } from "./memory-snapshotter.test-fixture.ts";
import { SnapshotStore, snapshotRefLabel } from "./snapshots.ts";
import { Snapshotters } from "./snapshotters.ts";
import { memoryStore } from "./store/memory-store.ts";

const scope = { namespace: "ns" };
const make = () => {
	const store = memoryStore();
	const backend = new MemorySnapshotter();
	return {
		store,
		backend,
		snapshots: new SnapshotStore({ store, snapshotter: backend }),
		leases: new LeaseStore(store),
	};
};
/** Two committed layers, "base" and "top" on it. */
const layers = async () => {
	const made = make();
	const { snapshots } = made;
	await snapshots.prepare(scope, "p1");
	await snapshots.commit(scope, "base", "p1");
	await snapshots.prepare(scope, "p2", "base");
	await snapshots.commit(scope, "top", "p2");
	return made;
};
const keys = (snapshots: SnapshotStore, ...filters: string[]): string[] =>
	snapshots.list("ns", filters).map(({ key }) => key);

labelContract("snapshot", async (labels) => {
	const { snapshots } = make();
	await snapshots.prepare(scope, "key", "", labels);
	return {
		labels: () => snapshots.stat("ns", "key").labels,
		update: (next, paths) => snapshots.update("ns", "key", next, paths),
	};
});

it("a key, with spaces and slashes too, is unique in its namespace and has another name in the backend", async () => {
	const { snapshots, backend, store } = make();
	const key = "extract-1-x sha256:a/b";
	const mounts = await snapshots.prepare(scope, key);
	await snapshots.prepare({ namespace: "other" }, key);
	await assert.rejects(snapshots.prepare(scope, key), { code: "AlreadyExists" });
	const names = [...backend.infos.keys()];
	assert.match(names[0] ?? "", /^ns\/\d+\/extract-1-x sha256:a\/b$/);
	assert.match(names[1] ?? "", /^other\/\d+\//);
	assert.deepEqual(await snapshots.mounts("ns", key), mounts);
	assert.equal(snapshots.stat("ns", key).kind, "active");
	assert.deepEqual((await eventsOf(store, (bytes) => SnapshotPrepare.decode(bytes)))[0], [
		"/snapshot/prepare",
		"containerd.events.SnapshotPrepare",
		{ key, parent: "", snapshotter: "memory" },
	]);
});

it("a commit renames key to name, keeps the parent, and frees the key", async () => {
	const { snapshots, backend, store } = await layers();
	assert.deepEqual(keys(snapshots), ["base", "top"]);
	const { kind, parent, backendKey } = snapshots.stat("ns", "top");
	assert.deepEqual([kind, parent], ["committed", "base"]);
	assert.equal(backend.infos.get(backendKey)?.parent, snapshots.stat("ns", "base").backendKey);
	await snapshots.prepare(scope, "p2", "top");
	await assert.rejects(snapshots.commit(scope, "top", "p2"), { code: "AlreadyExists" });
	await assert.rejects(snapshots.commit(scope, "new", "none"), { code: "NotFound" });
	await assert.rejects(snapshots.prepare(scope, "p3", "none"), { code: "NotFound" });
	await snapshots.view(scope, "v", "top");
	assert.deepEqual(keys(snapshots, "kind==view", "parent==base"), ["top", "v"]);
	assert.deepEqual((await topicsOf(store)).slice(0, 2), ["/snapshot/prepare", "/snapshot/commit"]);
	assert.equal((await topicsOf(store)).length, 5); // a view makes none
});

it("a layer prepared without a parent gets it at commit; another parent than its own is refused", async () => {
	const { snapshots, backend } = await layers();
	await snapshots.prepare(scope, "p3");
	await snapshots.commit(scope, "third", "p3", { parent: "top" });
	const { parent, backendKey } = snapshots.stat("ns", "third");
	assert.equal(parent, "top");
	assert.equal(backend.infos.get(backendKey)?.parent, snapshots.stat("ns", "top").backendKey);
	await snapshots.prepare(scope, "p4", "top");
	await assert.rejects(snapshots.commit(scope, "x", "p4", { parent: "base" }), { code: "FailedPrecondition" });
});

it("two commits to one name at once: one wins, the other keeps its key", async () => {
	const { snapshots, backend } = make();
	await snapshots.prepare(scope, "a");
	await snapshots.prepare(scope, "b");
	const outcomes = await Promise.allSettled([
		snapshots.commit(scope, "name", "a"),
		snapshots.commit(scope, "name", "b"),
	]);
	assert.deepEqual(
		outcomes.map(({ status }) => status),
		["fulfilled", "rejected"],
	);
	assert.deepEqual(keys(snapshots), ["b", "name"]);
	assert.deepEqual((await snapshots.sweep()).removed, []);
	assert.equal(backend.infos.size, 2);
});

it("a snapshot with children stays; what is removed leaves the backend at the sweep, children first", async () => {
	const { snapshots, backend, store } = await layers();
	await assert.rejects(snapshots.remove(scope, "base"), { code: "FailedPrecondition" });
	await assert.rejects(snapshots.remove(scope, "none"), { code: "NotFound" });
	await snapshots.remove(scope, "top");
	await snapshots.remove(scope, "base");
	assert.equal(backend.infos.size, 2);
	const { removed, left } = await snapshots.sweep();
	assert.deepEqual(
		removed.map((name) => name.split("/").at(-1)),
		["top", "base"],
	);
	assert.deepEqual(left, []);
	assert.equal((await topicsOf(store)).at(-1), "/snapshot/remove");
});

it("what the backend refuses to remove is left over, with its reason", async () => {
	const { snapshots, backend } = await layers();
	await snapshots.remove(scope, "top");
	backend.gate = async () => {
		throw new DaemonError("Unavailable", { kind: "snapshot", id: "top" }, "device busy");
	};
	const { removed, left } = await snapshots.sweep();
	assert.deepEqual(removed, []);
	assert.deepEqual(
		left.map(({ kind, error }) => [kind, error.problem]),
		[["snapshot", "device busy"]],
	);
});

it("a sweep leaves alone a snapshot that is just being prepared", async () => {
	const { snapshots, backend } = make();
	const prepared = Promise.withResolvers<void>();
	const held = Promise.withResolvers<void>();
	backend.mounts = async () => {
		prepared.resolve();
		await held.promise;
		return [];
	};
	const preparing = snapshots.prepare(scope, "key");
	await prepared.promise; // in the backend, not in the metadata
	assert.deepEqual((await snapshots.sweep()).removed, []);
	held.resolve();
	await preparing;
	assert.equal(backend.infos.size, 1);
});

it("new snapshots join the call's lease, a commit hands its place on, and an unknown lease is NotFound", async () => {
	const { snapshots, leases, backend } = make();
	await assert.rejects(snapshots.prepare({ ...scope, lease: "none" }, "key"), { code: "NotFound" });
	assert.equal(backend.infos.size, 0);
	await leases.create("ns", { id: "l", labels: {} });
	const leased = { ...scope, lease: "l" };
	await snapshots.prepare(leased, "key");
	assert.deepEqual(leases.listResources("ns", "l"), [{ type: "snapshots/memory", id: "key" }]);
	await snapshots.commit(leased, "name", "key");
	assert.deepEqual(leases.listResources("ns", "l"), [{ type: "snapshots/memory", id: "name" }]);
	await snapshots.remove(leased, "name");
	assert.deepEqual(leases.listResources("ns", "l"), []);
});

it("prepare for a chain id that is committed answers AlreadyExists, and the chain joins the lease", async () => {
	const { snapshots, leases } = await layers();
	await leases.create("ns", { id: "l", labels: {} });
	const labels = { [snapshotRefLabel]: "top" };
	await assert.rejects(snapshots.prepare({ ...scope, lease: "l" }, "extract-9 top", "base", labels), {
		code: "AlreadyExists",
	});
	assert.deepEqual(leases.listResources("ns", "l"), [{ type: "snapshots/memory", id: "top" }]);
	assert.deepEqual(keys(snapshots), ["base", "top"]);
});

it("what a lazy backend has already is adopted under the chain id", async () => {
	const { snapshots, backend } = make();
	const labels = { [snapshotRefLabel]: "chain", "containerd.io/snapshot/x": "1", own: "2" };
	backend.prepare = async (key) => {
		backend.infos.set("remote", { kind: "committed", name: "remote", parent: "", created: 0n, updated: 0n, labels });
		throw new DaemonError("AlreadyExists", { kind: "snapshot", id: key }, "target exists");
	};
	await assert.rejects(snapshots.prepare(scope, "extract-1 chain", "", labels), { code: "AlreadyExists" });
	assert.equal(snapshots.stat("ns", "chain").backendKey, "remote");
	assert.deepEqual((await snapshots.sweep()).removed, []);
});

it("the backend sees only the labels meant for it", async () => {
	const { snapshots, backend } = make();
	const labels = { [snapshotRefLabel]: "c", "containerd.io/snapshot/x": "1", "containerd.io/gc.root": "1" };
	await snapshots.prepare(scope, "key", "", labels);
	const seen = { [snapshotRefLabel]: "c", "containerd.io/snapshot/x": "1" };
	assert.deepEqual([...backend.infos.values()][0]?.labels, seen);
	assert.deepEqual(snapshots.stat("ns", "key").labels, labels);
});

it("an unknown snapshotter is InvalidArgument", () => {
	const { snapshots } = make();
	const snapshotters = new Snapshotters([snapshots]);
	assert.equal(snapshotters.named("memory"), snapshots);
	for (const name of ["", "nope"]) assert.throws(() => snapshotters.named(name), { code: "InvalidArgument" });
});
