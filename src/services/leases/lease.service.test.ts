import assert from "node:assert/strict";
import { test } from "node:test";
import { LeasesDefinition } from "../../gen/containerd/services/leases/v1/leases.ts";
import type { Collection } from "../../metadata/gc/collect.ts";
import { LeaseStore } from "../../metadata/leases.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { leaseService } from "./lease.service.ts";

const nothing: Collection = { removed: [], freed: [], left: [], pauseMs: 0 };

function client() {
	const collected: number[] = [];
	const service = leaseService(new LeaseStore(memoryStore()), {
		runOnce: async () => {
			collected.push(1);
			return nothing;
		},
	});
	return { collected, leases: directClient(LeasesDefinition, service) };
}

test("a lease has the id and labels it was given, or an id of its own", async () => {
	const { leases } = client();
	const { lease } = await leases.create({ id: "x", labels: { "containerd.io/gc.flat": "1" } }, "a");
	assert.equal(lease?.id, "x");
	assert.ok(lease?.createdAt);
	const one = await leases.create({ id: "", labels: {} }, "a");
	const two = await leases.create({ id: "", labels: {} }, "a");
	assert.notEqual(one.lease?.id, two.lease?.id);
	assert.equal((await leases.list({ filters: [] }, "a")).leases.length, 3);
	const { leases: flat } = await leases.list({ filters: ['labels."containerd.io/gc.flat"'] }, "a");
	assert.deepEqual(flat, [lease]);
	await assert.rejects(leases.create({ id: "x", labels: {} }, "a"), { code: "AlreadyExists" });
});

test("resources join and leave a lease", async () => {
	const { leases } = client();
	await leases.create({ id: "x", labels: {} }, "a");
	const resource = { type: "snapshots/overlayfs", id: "key with space" };
	await leases.addResource({ id: "x", resource }, "a");
	await leases.addResource({ id: "x", resource: { type: "ingests", id: "ref" } }, "a");
	await leases.deleteResource({ id: "x", resource: { type: "ingests", id: "ref" } }, "a");
	assert.deepEqual((await leases.listResources({ id: "x" }, "a")).resources, [resource]);
	await assert.rejects(leases.addResource({ id: "none", resource }, "a"), { code: "NotFound" });
	await assert.rejects(leases.addResource({ id: "x", resource: undefined }, "a"), { code: "InvalidArgument" });
	await assert.rejects(leases.addResource({ id: "x", resource: { type: "content", id: "x" } }, "a"), {
		code: "InvalidArgument",
	});
});

test("a synchronous delete waits for a collection", async () => {
	const { leases, collected } = client();
	await leases.create({ id: "x", labels: {} }, "a");
	await leases.create({ id: "y", labels: {} }, "a");
	await leases.delete({ id: "x", sync: false }, "a");
	assert.equal(collected.length, 0);
	await leases.delete({ id: "y", sync: true }, "a");
	assert.equal(collected.length, 1);
	await assert.rejects(leases.delete({ id: "y", sync: false }, "a"), { code: "NotFound" });
});
