import assert from "node:assert/strict";
import { it } from "node:test";
import { ImageUpdate } from "../gen/containerd/events/image.ts";
import { eventsOf } from "./events-of.test-fixture.ts";
import { type ImageDraft, ImageStore } from "./images.ts";
import { labelContract } from "./labels.test-suite.ts";
import { LeaseStore } from "./leases.ts";
import { memoryStore } from "./store/memory-store.ts";

const digest = `sha256:${"a".repeat(64)}`;
const target = { mediaType: "application/vnd.oci.image.index.v1+json", digest, size: 7, annotations: { a: "1" } };
const draft = (parts: Partial<ImageDraft> = {}): ImageDraft => ({
	name: "docker.io/library/alpine:3",
	labels: {},
	target,
	...parts,
});
const scope = { namespace: "ns" };

labelContract("image", async (labels) => {
	const images = new ImageStore(memoryStore());
	await images.create(scope, draft({ labels }));
	return {
		labels: () => images.get("ns", draft().name).labels,
		update: (next, paths) => images.update(scope, draft({ labels: next }), paths),
	};
});

for (const [what, parts] of [
	["no name", { name: "" }],
	["no size", { target: { ...target, size: 0 } }],
	["no media type", { target: { ...target, mediaType: "" } }],
	["a bad digest", { target: { ...target, digest: "sha256:abc" } }],
] as const)
	it(`an image with ${what} is refused`, async () => {
		const images = new ImageStore(memoryStore());
		await assert.rejects(images.create(scope, draft(parts)), { code: "InvalidArgument" });
	});

it("an update replaces all, or what the mask names; its event is of the images package", async () => {
	const store = memoryStore();
	const images = new ImageStore(store, () => 9n);
	await images.create(scope, draft({ labels: { old: "1" } }), { epoch: 3n });
	await assert.rejects(images.create(scope, draft()), { code: "AlreadyExists" });
	const moved = { ...target, digest: `sha256:${"b".repeat(64)}`, annotations: { b: "2" } };
	const byMask = await images.update(scope, draft({ target: moved }), ["annotations.b"]);
	assert.deepEqual(byMask.target, { ...target, annotations: { a: "1", b: "2" } });
	const all = await images.update(scope, draft({ target: moved }));
	assert.deepEqual(all, { ...draft({ target: moved }), createdAt: 3n, updatedAt: 9n });
	await assert.rejects(images.update(scope, draft({ name: "none" })), { code: "NotFound" });
	assert.deepEqual((await eventsOf(store, (bytes) => ImageUpdate.decode(bytes)))[1], [
		"/images/update",
		"containerd.services.images.v1.ImageUpdate",
		{ name: draft().name, labels: { old: "1" } },
	]);
});

it("a deletion may name the digest it means", async () => {
	const images = new ImageStore(memoryStore());
	await images.create(scope, draft());
	await assert.rejects(images.delete(scope, draft().name, `sha256:${"c".repeat(64)}`), { code: "NotFound" });
	await images.delete(scope, draft().name, digest);
	await assert.rejects(images.delete(scope, draft().name), { code: "NotFound" });
});

it("filters select by name, target, labels and annotations", async () => {
	const images = new ImageStore(memoryStore());
	await images.create(scope, draft({ name: "a" }));
	await images.create(scope, draft({ name: "b", target: { ...target, annotations: {} } }));
	const names = (filter: string): string[] => images.list("ns", [filter]).map(({ name }) => name);
	assert.deepEqual(names(`target.digest==${digest}`), ["a", "b"]);
	assert.deepEqual(names("annotations.a==1"), ["a"]);
	assert.deepEqual(names("name~=b,target.mediatype~=index"), ["b"]);
});

it("an image that can expire joins the call's lease; an unknown lease is NotFound and nothing is made", async () => {
	const store = memoryStore();
	const images = new ImageStore(store);
	const leases = new LeaseStore(store);
	const labels = { "containerd.io/gc.expire": "2030-01-01T00:00:00Z" };
	await assert.rejects(images.create({ ...scope, lease: "none" }, draft({ labels })), { code: "NotFound" });
	assert.deepEqual(images.list("ns"), []);
	await leases.create("ns", { id: "l", labels: {} });
	await images.create({ ...scope, lease: "l" }, draft({ labels }));
	assert.deepEqual(leases.listResources("ns", "l"), [{ type: "images", id: draft().name }]);
	await images.delete({ ...scope, lease: "l" }, draft().name);
	assert.deepEqual(leases.listResources("ns", "l"), []);
});
