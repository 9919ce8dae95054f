import assert from "node:assert/strict";
import { test } from "node:test";
import { Image, ImagesDefinition } from "../../gen/containerd/services/images/v1/images.ts";
import type { Collection } from "../../metadata/gc/collect.ts";
import { ImageStore } from "../../metadata/images.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { imageService } from "./image.service.ts";

const digest = `sha256:${"a".repeat(64)}`;
const alpine = Image.fromPartial({
	name: "docker.io/library/alpine:3",
	labels: { a: "b" },
	target: { mediaType: "application/vnd.oci.image.index.v1+json", digest, size: 1024n, annotations: { x: "y" } },
});
const epoch = { seconds: 1_600_000_000n, nanos: 5 };

const nothing: Collection = { removed: [], freed: [], left: [], pauseMs: 0 };

function client() {
	const collected: number[] = [];
	const service = imageService(new ImageStore(memoryStore()), {
		runOnce: async () => {
			collected.push(1);
			return nothing;
		},
	});
	return { collected, images: directClient(ImagesDefinition, service) };
}

test("an image comes back as it was given", async () => {
	const { images } = client();
	await images.create({ image: alpine, sourceDateEpoch: epoch }, "a");
	const { image } = await images.get({ name: alpine.name }, "a");
	assert.deepEqual(image, { ...alpine, createdAt: epoch, updatedAt: epoch });
	assert.deepEqual((await images.list({ filters: [`target.digest==${digest}`] }, "a")).images, [image]);
	assert.deepEqual((await images.list({ filters: ["name==x"] }, "a")).images, []);
});

test("a mask says what is updated", async () => {
	const { images } = client();
	await images.create({ image: alpine, sourceDateEpoch: undefined }, "a");
	const next = { ...alpine, labels: { a: "", c: "d" } };
	const request = { image: next, updateMask: ["labels.a"], sourceDateEpoch: undefined };
	assert.deepEqual((await images.update(request, "a")).image?.labels, {});
	assert.deepEqual((await images.update({ ...request, updateMask: undefined }, "a")).image?.labels, { c: "d" });
	await assert.rejects(images.update({ ...request, updateMask: ["name"] }, "a"), { code: "InvalidArgument" });
});

test("digest, size and media type are required", async () => {
	const { images } = client();
	const target = { mediaType: "m", digest, size: 1n, annotations: {} };
	for (const change of [{ digest: "sha256:x" }, { size: 0n }, { size: -1n }, { mediaType: "" }])
		await assert.rejects(
			images.create({ image: { ...alpine, target: { ...target, ...change } }, sourceDateEpoch: undefined }, "a"),
			{ code: "InvalidArgument" },
		);
	for (const image of [undefined, { ...alpine, target: undefined }, { ...alpine, name: "" }])
		await assert.rejects(images.create({ image, sourceDateEpoch: undefined }, "a"), { code: "InvalidArgument" });
});

test("a synchronous delete waits for a collection; another target is NotFound", async () => {
	const { images, collected } = client();
	const create = () => images.create({ image: alpine, sourceDateEpoch: undefined }, "a");
	await create();
	const other = { mediaType: "", digest: `sha256:${"b".repeat(64)}`, size: 0n, annotations: {} };
	await assert.rejects(images.delete({ name: alpine.name, sync: true, target: other }, "a"), { code: "NotFound" });
	await images.delete({ name: alpine.name, sync: false }, "a");
	assert.equal(collected.length, 0);
	await create();
	await images.delete({ name: alpine.name, sync: true, target: alpine.target }, "a");
	assert.equal(collected.length, 1);
	await assert.rejects(images.get({ name: alpine.name }, "a"), { code: "NotFound" });
});
