import assert from "node:assert/strict";
import { it } from "node:test";
import { ContainerCreate } from "../gen/containerd/events/container.ts";
import { type ContainerDraft, ContainerStore } from "./containers.ts";
import { eventsOf, topicsOf } from "./events-of.test-fixture.ts";
import { labelContract } from "./labels.test-suite.ts";
import { memoryStore } from "./store/memory-store.ts";

const spec = { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: new Uint8Array([123, 125]) };
const draft = (parts: Partial<ContainerDraft> = {}): ContainerDraft => ({
	id: "web",
	labels: {},
	image: "docker.io/library/alpine:3",
	runtime: { name: "io.containerd.runc.v2" },
	spec,
	snapshotter: "overlayfs",
	snapshotKey: "web",
	extensions: {},
	sandbox: "",
	...parts,
});

labelContract("container", async (labels) => {
	const containers = new ContainerStore(memoryStore());
	await containers.create("ns", draft({ labels }));
	return {
		labels: () => containers.get("ns", "web").labels,
		update: (next, paths) => containers.update("ns", draft({ labels: next }), paths),
	};
});

it("a created container is kept as given, and its event tells image and runtime", async () => {
	const store = memoryStore();
	const containers = new ContainerStore(store, () => 5n);
	const options = { typeUrl: "containerd.runc.v1.Options", value: new Uint8Array([1]) };
	const given = draft({ extensions: { x: options }, runtime: { name: "r", options } });
	const created = await containers.create("ns", given);
	assert.deepEqual(created, { ...given, createdAt: 5n, updatedAt: 5n });
	assert.deepEqual(containers.get("ns", "web"), created);
	assert.throws(() => containers.get("other", "web"), { code: "NotFound" });
	await assert.rejects(containers.create("ns", given), { code: "AlreadyExists" });
	const events = await eventsOf(store, (bytes) => ContainerCreate.decode(bytes));
	assert.deepEqual(events, [
		[
			"/containers/create",
			"containerd.events.ContainerCreate",
			{ id: "web", image: given.image, runtime: { name: "r", options } },
		],
	]);
});

for (const [what, parts] of [
	["a bad id", { id: "a/b" }],
	["an id of 77 characters", { id: "a".repeat(77) }],
	["no runtime name", { runtime: { name: "" } }],
	["no spec", { spec: undefined }],
	["a snapshot key without snapshotter", { snapshotter: "" }],
	["an extension without a name", { extensions: { "": spec } }],
] as const)
	it(`a container with ${what} is refused`, async () => {
		const containers = new ContainerStore(memoryStore());
		await assert.rejects(containers.create("ns", draft(parts)), { code: "InvalidArgument" });
		assert.deepEqual(containers.list("ns"), []);
	});

it("an update without a mask replaces what may change, and refuses another snapshotter or runtime", async () => {
	let now = 1n;
	const store = memoryStore();
	const containers = new ContainerStore(store, () => now);
	await containers.create("ns", draft());
	now = 2n;
	const next = draft({ image: "other", snapshotKey: "web2", sandbox: "ignored", extensions: { e: spec } });
	const updated = await containers.update("ns", next);
	assert.deepEqual(updated, { ...next, sandbox: "", createdAt: 1n, updatedAt: 2n });
	for (const parts of [{ snapshotter: "native" }, { runtime: { name: "other" } }])
		await assert.rejects(containers.update("ns", draft(parts)), { code: "InvalidArgument" });
	await assert.rejects(containers.update("ns", draft({ id: "none" })), { code: "NotFound" });
	assert.deepEqual(await topicsOf(store), ["/containers/create", "/containers/update"]);
});

it("a mask replaces only what it names, one extension too", async () => {
	const containers = new ContainerStore(memoryStore());
	await containers.create("ns", draft({ extensions: { a: spec, b: spec } }));
	const next = draft({ image: "new", snapshotKey: "new", extensions: { c: spec } });
	const updated = await containers.update("ns", next, ["image", "extensions.c", "extensions.a"]);
	assert.deepEqual([updated.image, updated.snapshotKey], ["new", "web"]);
	assert.deepEqual(Object.keys(updated.extensions).sort(), ["b", "c"]);
});

it("filters select by id, image, runtime and labels", async () => {
	const containers = new ContainerStore(memoryStore());
	await containers.create("ns", draft({ id: "a", labels: { "a.b": "x" } }));
	await containers.create("ns", draft({ id: "b", image: "busybox" }));
	const ids = (...filters: string[]): string[] => containers.list("ns", filters).map(({ id }) => id);
	assert.deepEqual(ids(), ["a", "b"]);
	assert.deepEqual(ids('labels."a.b"==x,image~=alpine'), ["a"]);
	assert.deepEqual(ids("id==b", "runtime.name==none"), ["b"]);
	assert.throws(() => ids("id=b"), { code: "InvalidArgument" });
});

it("a deleted container is gone", async () => {
	const containers = new ContainerStore(memoryStore());
	await containers.create("ns", draft());
	await containers.delete("ns", "web");
	await assert.rejects(containers.delete("ns", "web"), { code: "NotFound" });
	assert.deepEqual(containers.list("ns"), []);
});
