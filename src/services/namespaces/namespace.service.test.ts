import assert from "node:assert/strict";
import { test } from "node:test";
import { NamespacesDefinition } from "../../gen/containerd/services/namespaces/v1/namespace.ts";
import { ContainerStore } from "../../metadata/containers.ts";
import { NamespaceStore } from "../../metadata/namespaces.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { namespaceService } from "./namespace.service.ts";

function namespaces() {
	const store = memoryStore();
	const client = directClient(NamespacesDefinition, namespaceService(new NamespaceStore(store)));
	return { client, containers: new ContainerStore(store) };
}

test("a namespace is created, listed, changed and deleted without a namespace header", async () => {
	const { client } = namespaces();
	await client.create({ namespace: { name: "a", labels: { x: "1", y: "2" } } });
	await assert.rejects(client.create({ namespace: { name: "a", labels: {} } }), { code: "AlreadyExists" });
	const changed = await client.update({ namespace: { name: "a", labels: { x: "" } }, updateMask: ["labels.x"] });
	assert.deepEqual(changed.namespace?.labels, { y: "2" });
	const { namespaces: listed } = await client.list({ filter: "" });
	assert.deepEqual(listed, [{ name: "a", labels: { y: "2" } }]);
	await client.delete({ name: "a" });
	assert.deepEqual((await client.list({ filter: "" })).namespaces, []);
});

test("an update without a mask replaces all labels, the bare word labels is no mask here", async () => {
	const { client } = namespaces();
	await client.create({ namespace: { name: "a", labels: { x: "1" } } });
	const { namespace } = await client.update({ namespace: { name: "a", labels: { z: "3" } }, updateMask: undefined });
	assert.deepEqual(namespace?.labels, { z: "3" });
	await assert.rejects(client.update({ namespace: { name: "a", labels: {} }, updateMask: ["labels"] }), {
		code: "InvalidArgument",
	});
});

test("an unknown namespace has no labels; only delete and update care", async () => {
	const { client } = namespaces();
	assert.deepEqual((await client.get({ name: "none" })).namespace, { name: "none", labels: {} });
	await assert.rejects(client.delete({ name: "none" }), { code: "NotFound" });
	await assert.rejects(client.update({ namespace: { name: "none", labels: {} }, updateMask: [] }), {
		code: "NotFound",
	});
	await assert.rejects(client.create({ namespace: undefined }), { code: "InvalidArgument" });
});

test("a namespace with something in it is not deleted, and says what", async () => {
	const { client, containers } = namespaces();
	await containers.create("a", {
		id: "web",
		labels: {},
		image: "",
		runtime: { name: "r" },
		spec: { typeUrl: "t", value: new Uint8Array([1]) },
		snapshotter: "",
		snapshotKey: "",
		extensions: {},
		sandbox: "",
	});
	await assert.rejects(client.delete({ name: "a" }), { code: "FailedPrecondition", message: /containers/ });
});
