import assert from "node:assert/strict";
import { it } from "node:test";
import { ContainerStore } from "./containers.ts";
import { topicsOf } from "./events-of.test-fixture.ts";
import { labelContract } from "./labels.test-suite.ts";
import { LeaseStore } from "./leases.ts";
import { NamespaceStore } from "./namespaces.ts";
import { memoryStore } from "./store/memory-store.ts";

labelContract(
	"namespace",
	async (labels) => {
		const namespaces = new NamespaceStore(memoryStore());
		await namespaces.create("ns", labels);
		return {
			labels: () => namespaces.get("ns").labels,
			update: (next, paths) => namespaces.update("ns", next, paths),
		};
	},
	false,
);

it("an unknown namespace has no labels, cannot be updated and cannot be deleted", async () => {
	const namespaces = new NamespaceStore(memoryStore());
	assert.deepEqual(namespaces.get("no"), { name: "no", labels: {} });
	await assert.rejects(namespaces.update("no", {}), { code: "NotFound" });
	await assert.rejects(namespaces.delete("no"), { code: "NotFound" });
	await assert.rejects(namespaces.create("not good", {}), { code: "InvalidArgument" });
});

it("a namespace exists as soon as something is written in it, and can be deleted only when it is empty but for leases", async () => {
	const store = memoryStore();
	const namespaces = new NamespaceStore(store);
	const containers = new ContainerStore(store);
	await containers.create("made", {
		id: "c",
		labels: {},
		image: "",
		runtime: { name: "r" },
		spec: { typeUrl: "s", value: new Uint8Array() },
		snapshotter: "",
		snapshotKey: "",
		extensions: {},
		sandbox: "",
	});
	await new LeaseStore(store).create("made", { id: "l", labels: {} });
	assert.deepEqual(namespaces.list(), [{ name: "made", labels: {} }]);
	await assert.rejects(namespaces.delete("made"), (error: Error) => {
		assert.match(error.message, /must be empty, but it still has containers/);
		return true;
	});
	await containers.delete("made", "c");
	await namespaces.delete("made");
	assert.deepEqual([...store.entries("")], []);
	await namespaces.create("again");
	await assert.rejects(namespaces.create("again"), { code: "AlreadyExists" });
	assert.deepEqual(await topicsOf(store), [
		"/containers/create",
		"/containers/delete",
		"/namespaces/delete",
		"/namespaces/create",
	]);
});
