import assert from "node:assert/strict";
import { test } from "node:test";
import { SnapshotsDefinition } from "../../gen/containerd/services/snapshots/v1/snapshots.ts";
import { LeaseStore } from "../../metadata/leases.ts";
import { MemorySnapshotter } from "../../metadata/memory-snapshotter.test-fixture.ts";
import { SnapshotStore } from "../../metadata/snapshots.ts";
import { Snapshotters } from "../../metadata/snapshotters.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { snapshotService } from "./snapshot.service.ts";

const snapshotter = "memory";

function make() {
	const store = memoryStore();
	const snapshotters = new Snapshotters([new SnapshotStore({ store, snapshotter: new MemorySnapshotter() })]);
	return { snapshots: directClient(SnapshotsDefinition, snapshotService(snapshotters)), leases: new LeaseStore(store) };
}

const prepare = (key: string, parent = "", labels = {}) => ({ snapshotter, key, parent, labels });
const commit = (name: string, key: string, parent = "") => ({ snapshotter, name, key, labels: {}, parent });

test("a snapshot is prepared, committed, and a parent of others", async () => {
	const { snapshots } = make();
	const { mounts } = await snapshots.prepare(prepare("extract-1 sha256:x", "", { a: "b" }), "a");
	assert.equal(mounts[0]?.type, "overlay");
	await snapshots.commit(commit("base", "extract-1 sha256:x"), "a");
	await snapshots.prepare(prepare("web", "base"), "a");
	await snapshots.view(prepare("look", "base"), "a");
	const listed = [];
	for await (const { info } of snapshots.list({ snapshotter, filters: [] }, "a")) listed.push(...info);
	assert.deepEqual(
		listed.map(({ name, parent, kind }) => [name, parent, kind]),
		[
			["base", "", 3],
			["look", "base", 1],
			["web", "base", 2],
		],
	);
	assert.equal((await snapshots.mounts({ snapshotter, key: "web" }, "a")).mounts.length, 1);
	await assert.rejects(snapshots.remove({ snapshotter, key: "base" }, "a"), { code: "FailedPrecondition" });
	for (const key of ["web", "look", "base"]) await snapshots.remove({ snapshotter, key }, "a");
	await assert.rejects(snapshots.stat({ snapshotter, key: "base" }, "a"), { code: "NotFound" });
	await snapshots.cleanup({ snapshotter }, "a");
});

test("a missing or unknown snapshotter is InvalidArgument", async () => {
	const { snapshots } = make();
	for (const name of ["", "nope"]) {
		await assert.rejects(snapshots.stat({ snapshotter: name, key: "x" }, "a"), { code: "InvalidArgument" });
		await assert.rejects(snapshots.list({ snapshotter: name, filters: [] }, "a").next(), { code: "InvalidArgument" });
	}
});

test("a layer is extracted before its parent is there, and gets it at commit", async () => {
	const { snapshots } = make();
	await snapshots.prepare(prepare("upper"), "a");
	await snapshots.prepare(prepare("lower"), "a");
	await snapshots.commit(commit("one", "lower"), "a");
	await snapshots.commit(commit("two", "upper", "one"), "a");
	assert.equal((await snapshots.stat({ snapshotter, key: "two" }, "a")).info?.parent, "one");
});

test("what the ref label asks for and is there is AlreadyExists, and so is a key that is taken", async () => {
	const { snapshots } = make();
	await snapshots.prepare(prepare("x"), "a");
	await snapshots.commit(commit("chain", "x"), "a");
	const labels = { "containerd.io/snapshot.ref": "chain" };
	await assert.rejects(snapshots.prepare(prepare("y", "", labels), "a"), { code: "AlreadyExists" });
	await assert.rejects(snapshots.prepare(prepare("chain"), "a"), { code: "AlreadyExists" });
	await assert.rejects(snapshots.prepare(prepare("z", "none"), "a"), { code: "NotFound" });
});

test("labels are changed by a mask; nothing else can be", async () => {
	const { snapshots } = make();
	await snapshots.prepare(prepare("web", "", { a: "1" }), "a");
	const info = {
		name: "web",
		parent: "",
		kind: 0 as const,
		createdAt: undefined,
		updatedAt: undefined,
		labels: { b: "2" },
	};
	const updated = await snapshots.update({ snapshotter, info, updateMask: ["labels.b"] }, "a");
	assert.deepEqual(updated.info?.labels, { a: "1", b: "2" });
	await assert.rejects(snapshots.update({ snapshotter, info, updateMask: ["parent"] }, "a"), {
		code: "InvalidArgument",
	});
	assert.equal(typeof (await snapshots.usage({ snapshotter, key: "web" }, "a")).size, "bigint");
});

test("a snapshot joins the lease of the call", async () => {
	const { snapshots, leases } = make();
	await leases.create("a", { id: "l", labels: {} });
	await snapshots.prepare(prepare("web"), { namespace: "a", lease: "l" });
	assert.deepEqual(leases.listResources("a", "l"), [{ type: "snapshots/memory", id: "web" }]);
	await assert.rejects(snapshots.prepare(prepare("other"), { namespace: "a", lease: "none" }), { code: "NotFound" });
});
