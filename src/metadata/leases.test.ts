import assert from "node:assert/strict";
import { it } from "node:test";
import { LeaseStore } from "./leases.ts";
import { memoryStore } from "./store/memory-store.ts";

const digest = `sha256:${"a".repeat(64)}`;

it("a lease lists the resources it was given, each once, and forgets them with its end", async () => {
	const store = memoryStore();
	let told = 0;
	const leases = new LeaseStore(store, () => 1n);
	leases.watchDeletions(() => told++);
	const lease = await leases.create("ns", { id: "a/b", labels: { x: "y", empty: "" } });
	assert.deepEqual(lease, { id: "a/b", labels: { x: "y" }, createdAt: 1n });
	await assert.rejects(leases.create("ns", { id: "a/b", labels: {} }), { code: "AlreadyExists" });
	await leases.create("ns", { id: "a", labels: {} });
	const resources = [
		{ type: "content", id: digest },
		{ type: "ingests", id: "layer-1" },
		{ type: "snapshots/overlayfs", id: "extract-1 sha256:x/y" },
	];
	for (const resource of [...resources, ...resources]) await leases.addResource("ns", "a/b", resource);
	assert.deepEqual(leases.listResources("ns", "a/b"), resources);
	assert.deepEqual(leases.listResources("ns", "a"), []);
	await leases.deleteResource("ns", "a/b", { type: "ingests", id: "layer-1" });
	await leases.deleteResource("ns", "a/b", { type: "ingests", id: "never there" });
	assert.equal(leases.listResources("ns", "a/b").length, 2);
	await leases.delete("ns", "a/b");
	assert.equal(told, 3);
	assert.throws(() => leases.listResources("ns", "a/b"), { code: "NotFound" });
	await leases.create("ns", { id: "a/b", labels: {} });
	assert.deepEqual(leases.listResources("ns", "a/b"), []);
});

it("unknown leases are NotFound, bad resources InvalidArgument, unknown types Unimplemented", async () => {
	const leases = new LeaseStore(memoryStore());
	await assert.rejects(leases.create("ns", { id: "", labels: {} }), { code: "InvalidArgument" });
	await assert.rejects(leases.delete("ns", "none"), { code: "NotFound" });
	await assert.rejects(leases.addResource("ns", "none", { type: "content", id: digest }), { code: "NotFound" });
	await leases.create("ns", { id: "l", labels: {} });
	for (const [type, id, code] of [
		["content", "no digest", "InvalidArgument"],
		["content/x", digest, "InvalidArgument"],
		["snapshots", "key", "InvalidArgument"],
		["snapshots/a/b", "key", "InvalidArgument"],
		["tasks", "t", "Unimplemented"],
	] as const)
		await assert.rejects(leases.addResource("ns", "l", { type, id }), { code });
});

it("filters select by id and labels", async () => {
	const leases = new LeaseStore(memoryStore());
	await leases.create("ns", { id: "a", labels: { k: "1" } });
	await leases.create("ns", { id: "b", labels: { k: "2" } });
	assert.deepEqual(
		leases.list("ns", ["labels.k==2"]).map(({ id }) => id),
		["b"],
	);
	assert.deepEqual(
		leases.list("ns", ["id==a", "id==b"]).map(({ id }) => id),
		["a", "b"],
	);
});
