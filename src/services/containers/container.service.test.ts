import assert from "node:assert/strict";
import { test } from "node:test";
import { Container, ContainersDefinition } from "../../gen/containerd/services/containers/v1/containers.ts";
import { ContainerStore } from "../../metadata/containers.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { containerService } from "./container.service.ts";

const any = (typeUrl: string, ...bytes: number[]) => ({ typeUrl, value: new Uint8Array(bytes) });
const web = Container.fromPartial({
	id: "web",
	labels: { a: "b" },
	image: "docker.io/library/alpine:3",
	runtime: { name: "io.containerd.runc.v2", options: any("containerd.runc.v1.Options", 9) },
	spec: any("types.containerd.io/opencontainers/runtime-spec/1/Spec", 123, 125),
	snapshotter: "overlayfs",
	snapshotKey: "web",
	extensions: { ext: any("unknown/type", 1, 2, 3) },
});
const client = () => directClient(ContainersDefinition, containerService(new ContainerStore(memoryStore())));

test("a container comes back as it was given, with its times", async () => {
	const containers = client();
	const created = await containers.create({ container: web }, "a");
	const { container } = await containers.get({ id: "web" }, "a");
	assert.deepEqual(container, created.container);
	assert.deepEqual({ ...container, createdAt: undefined, updatedAt: undefined }, web);
	assert.ok((container?.createdAt?.seconds ?? 0n) > 0n);
});

test("containers of other namespaces are not there", async () => {
	const containers = client();
	await containers.create({ container: web }, "a");
	await assert.rejects(containers.get({ id: "web" }, "b"), { code: "NotFound" });
	await assert.rejects(containers.get({ id: "web" }), { code: "FailedPrecondition" });
	await assert.rejects(containers.create({ container: web }, "a"), { code: "AlreadyExists" });
	await containers.create({ container: web }, "b");
});

test("a stream tells one container a message, filtered like the list", async () => {
	const containers = client();
	for (const id of ["one", "two", "three"]) await containers.create({ container: { ...web, id } }, "a");
	const streamed: string[] = [];
	for await (const { container } of containers.listStream({ filters: ["id~=^t"] }, "a"))
		streamed.push(container?.id ?? "");
	assert.deepEqual(streamed, ["three", "two"]);
	const { containers: listed } = await containers.list({ filters: ["id~=^t"] }, "a");
	assert.deepEqual(
		listed.map(({ id }) => id),
		streamed,
	);
});

test("a mask says what is updated; the runtime's name never is", async () => {
	const containers = client();
	await containers.create({ container: web }, "a");
	const changed = { ...web, image: "other", labels: { a: "c", d: "e" } };
	const { container } = await containers.update({ container: changed, updateMask: ["labels.d"] }, "a");
	assert.deepEqual(container?.labels, { a: "b", d: "e" });
	assert.equal(container?.image, web.image);
	const renamed = { ...web, runtime: { name: "x", options: undefined } };
	await assert.rejects(containers.update({ container: renamed, updateMask: undefined }, "a"), {
		code: "InvalidArgument",
	});
});

test("what a container needs is asked for", async () => {
	const containers = client();
	for (const [change, code] of [
		[{ id: "a/b" }, "InvalidArgument"],
		[{ spec: undefined }, "InvalidArgument"],
		[{ runtime: undefined }, "InvalidArgument"],
		[{ snapshotter: "" }, "InvalidArgument"],
	] as const)
		await assert.rejects(containers.create({ container: { ...web, ...change } }, "a"), { code });
	await assert.rejects(containers.create({ container: undefined }, "a"), { code: "InvalidArgument" });
});

test("a deleted container is gone", async () => {
	const containers = client();
	await containers.create({ container: web }, "a");
	await containers.delete({ id: "web" }, "a");
	await assert.rejects(containers.delete({ id: "web" }, "a"), { code: "NotFound" });
});
