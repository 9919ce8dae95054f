import assert from "node:assert/strict";
import { test } from "node:test";
import { TransferDefinition } from "../../gen/containerd/services/transfer/v1/transfer.ts";
import { ImageStore as WireImageStore } from "../../gen/containerd/types/transfer/imagestore.ts";
import { Progress } from "../../gen/containerd/types/transfer/progress.ts";
import {
	AuthRequest,
	AuthResponse,
	type DeepPartial,
	OCIRegistry,
} from "../../gen/containerd/types/transfer/registry.ts";
import type { ImagePuller, PullRequest } from "../../images/image-puller.ts";
import { ImageStore } from "../../metadata/images.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { StreamRegistry } from "../streaming/stream-registry.ts";
import type { AnyValue } from "../wire.ts";
import { transferService } from "./transfer.service.ts";

const name = "docker.io/library/alpine:3";
const target = {
	mediaType: "application/vnd.oci.image.index.v1+json",
	digest: `sha256:${"a".repeat(64)}`,
	size: 9,
	annotations: {},
};
const layer = { digest: "sha256:l", phase: "downloading" as const, offset: 1, total: 4 };

function make(pull?: (request: PullRequest) => Promise<void>) {
	const images = new ImageStore(memoryStore());
	const streams = new StreamRegistry();
	const requests: PullRequest[] = [];
	const puller: Pick<ImagePuller, "pull"> = {
		async pull(namespace, reference, request, onProgress) {
			requests.push(request);
			await pull?.(request);
			onProgress?.({ phase: "layers", target: target.digest, layers: [layer] });
			onProgress?.({ phase: "done", target: target.digest, layers: [{ ...layer, phase: "done", offset: 4 }] });
			const known = images.list(namespace, [`name==${reference}`])[0];
			return known ?? images.create({ namespace }, { name: reference, target, labels: {} });
		},
	};
	const service = transferService({ puller, images, streams, defaultSnapshotter: () => "overlayfs" });
	return { images, streams, requests, transfer: directClient(TransferDefinition, service).transfer };
}

const registry = (fields: DeepPartial<OCIRegistry> = {}): AnyValue => ({
	typeUrl: "containerd.types.transfer.OCIRegistry",
	value: OCIRegistry.encode(OCIRegistry.fromPartial({ reference: name, ...fields })).finish(),
});
const store = (fields: DeepPartial<WireImageStore> = {}): AnyValue => ({
	typeUrl: "containerd.types.transfer.ImageStore",
	value: WireImageStore.encode(WireImageStore.fromPartial({ name, ...fields })).finish(),
});
const pull = (source: AnyValue, destination: AnyValue, progressStream = "") => ({
	source,
	destination,
	options: { progressStream },
});

/** A stream whose client sends `answers` and reads everything. */
function open(streams: StreamRegistry, id: string, answers: readonly AnyValue[] = []) {
	const stream = streams.open(
		"a",
		id,
		(async function* () {
			yield* answers;
		})(),
	);
	const sent: AnyValue[] = [];
	const ended = (async () => {
		for await (const value of stream.outgoing(new AbortController().signal)) sent.push(value);
	})();
	return { sent, ended };
}

test("a pull is told step by step, and its stream ends with it", async () => {
	const { transfer, streams, images } = make();
	const { sent, ended } = open(streams, "p");
	await transfer(pull(registry(), store({ labels: { a: "b" } }), "p"), "a");
	await ended;
	const events = sent.map(({ typeUrl, value }) => {
		assert.equal(typeUrl, "containerd.types.transfer.Progress");
		const { event, name, progress, total, parents } = Progress.decode(value);
		return [event, name, `${progress}/${total}`, parents.join()].join(" ").trim();
	});
	assert.deepEqual(events.at(0), "Resolving from OCI Registry (docker.io/library/alpine:3)  0/0");
	assert.ok(events.includes(`complete layer-sha256:l 4/4 ${name}`));
	assert.deepEqual(events.at(-1), "Completed pull from OCI Registry (docker.io/library/alpine:3)  0/0");
	assert.deepEqual(images.get("a", name).labels, { a: "b" });
});

test("what the client says about registry, platform and snapshotter reaches the puller", async () => {
	const { transfer, requests } = make();
	const resolver = { hostDir: "/etc/certs.d", defaultScheme: "http" };
	const platform = { os: "linux", architecture: "arm64", variant: "v8" };
	await transfer(pull(registry({ resolver }), store({ unpacks: [{ platform, snapshotter: "native" }] })), "a");
	await transfer(pull(registry(), store({ unpacks: [{ snapshotter: "" }] })), "a");
	await transfer(pull(registry(), store()), "a");
	assert.partialDeepStrictEqual(requests, [
		{
			plainHttp: true,
			hostDirectories: ["/etc/certs.d"],
			platform: "linux/arm64/v8",
			snapshotter: "native",
			unpack: true,
		},
		{ plainHttp: false, snapshotter: "overlayfs", unpack: true },
		{ unpack: false },
	]);
	assert.equal(requests[1]?.platform, undefined);
});

test("credentials are asked for over the client's stream", async () => {
	const seen: unknown[] = [];
	const { transfer, streams } = make(async ({ credentials }) => {
		if (typeof credentials === "function") seen.push(await credentials("registry:5000"), await credentials("mirror"));
	});
	const answer = (fields: DeepPartial<AuthResponse>): AnyValue => ({
		typeUrl: "containerd.types.transfer.AuthResponse",
		value: AuthResponse.encode(AuthResponse.fromPartial(fields)).finish(),
	});
	const { sent } = open(streams, "auth", [
		answer({ authType: 1, username: "u", secret: "s" }),
		answer({ authType: 0 }),
	]);
	await transfer(pull(registry({ resolver: { authStream: "auth" } }), store()), "a");
	assert.deepEqual(seen, [{ username: "u", secret: "s" }, undefined]);
	const asked = sent.map(({ value }) => AuthRequest.decode(value));
	assert.deepEqual(
		asked.map(({ host, reference }) => [host, reference]),
		[
			["registry:5000", name],
			["mirror", name],
		],
	);
});

test("a failed pull ends its stream and keeps its error", async () => {
	const { transfer, streams } = make(() => Promise.reject(new Error("no registry")));
	const { ended } = open(streams, "p");
	await assert.rejects(transfer(pull(registry(), store(), "p"), "a"), /no registry/);
	await ended;
});

test("the image may get another name than the reference", async () => {
	const { transfer, images } = make();
	await transfer(pull(registry(), store({ name: "mine" })), "a");
	assert.deepEqual(images.get("a", "mine").target, target);
});

test("a tag gives an image a second name, and moves one that is taken", async () => {
	const { transfer, images } = make();
	await images.create({ namespace: "a" }, { name, target, labels: {} });
	await images.create({ namespace: "a" }, { name: "new", target: { ...target, size: 1 }, labels: {} });
	await transfer(pull(store(), store({ name: "new" })), "a");
	assert.deepEqual(images.get("a", "new").target, target);
	await assert.rejects(transfer(pull(store({ name: "none" }), store()), "a"), { code: "NotFound" });
});

test("other pairs, and wishes that would be left out, are refused", async () => {
	const { transfer } = make();
	for (const request of [
		pull(store(), registry()),
		pull(registry(), { typeUrl: "containerd.types.transfer.ImageExportStream", value: new Uint8Array([1]) }),
		pull(registry({ resolver: { headers: { a: "b" } } }), store()),
		pull(registry(), store({ extraReferences: [{ name: "x" }] })),
	])
		await assert.rejects(transfer(request, "a"), { code: "Unimplemented" });
	await assert.rejects(transfer({ source: undefined, destination: store(), options: undefined }, "a"), {
		code: "InvalidArgument",
	});
	await assert.rejects(transfer(pull(registry(), store(), "no-such-stream"), "a"), { code: "NotFound" });
});
