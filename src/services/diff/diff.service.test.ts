import assert from "node:assert/strict";
import { test } from "node:test";
import { DaemonError } from "../../errors/daemon-error.ts";
import { ApplyRequest, DiffDefinition, DiffRequest } from "../../gen/containerd/services/diff/v1/diff.ts";
import type { UnpackRequest } from "../../workers/unpacker.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { diffService } from "./diff.service.ts";

const overlay = (...options: string[]) => ({ type: "overlay", source: "overlay", target: "", options });
const bind = (source: string, ...options: string[]) => ({ type: "bind", source, target: "", options });

function client() {
	const unpacked: UnpackRequest[] = [];
	const blobs = {
		blobPath: async (namespace: string, id: string) => {
			if (id === "sha256:a") return "/blobs/a";
			throw new DaemonError("NotFound", { kind: "content", namespace, id }, "not found");
		},
	};
	const unpacker = {
		unpack: async (request: UnpackRequest) => {
			unpacked.push(request);
			return {
				diffId: "sha256:d",
				size: 2048,
				entries: 1,
				usage: undefined,
				impliedDirectories: [Buffer.from("etc")],
				skippedAttributes: 0,
				skippedDevices: 0,
			};
		},
	};
	const inherited: unknown[] = [];
	const trees = { inherit: async (...args: unknown[]) => void inherited.push(args) };
	return { unpacked, inherited, diff: directClient(DiffDefinition, diffService(blobs, unpacker, trees)) };
}

const request = (digest: string) =>
	ApplyRequest.fromPartial({
		diff: { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest, size: 7n },
		mounts: [overlay("upperdir=/s/fs", "lowerdir=/l")],
	});

test("apply tells diff ID and size of the uncompressed layer", async () => {
	const { diff, unpacked, inherited } = client();
	const { applied } = await diff.apply(request("sha256:a"), "a");
	assert.partialDeepStrictEqual(applied, {
		mediaType: "application/vnd.oci.image.layer.v1.tar",
		digest: "sha256:d",
		size: 2048n,
	});
	assert.partialDeepStrictEqual(unpacked, [{ source: { blobPath: "/blobs/a" }, targetDir: "/s/fs", sync: false }]);
	assert.deepEqual(inherited, [["/s/fs", ["/l"], [Buffer.from("etc")]]]);
});

test("the blob must be in the caller's namespace", async () => {
	const { diff, unpacked } = client();
	await assert.rejects(diff.apply(request("sha256:b"), "a"), { code: "NotFound" });
	await assert.rejects(diff.apply({ ...request("sha256:a"), diff: undefined }, "a"), { code: "InvalidArgument" });
	assert.deepEqual(unpacked, []);
});

for (const [name, mounts, code] of [
	["nothing", [], "InvalidArgument"],
	["a view of layers", [overlay("lowerdir=/a:/b")], "InvalidArgument"],
	["a read-only bind mount", [bind("/s", "ro", "rbind")], "InvalidArgument"],
	["a relative path", [bind("s", "rbind")], "InvalidArgument"],
	["another file system", [{ ...bind("/dev/sda"), type: "ext4" }], "Unimplemented"],
	["two mounts", [bind("/a"), bind("/b")], "Unimplemented"],
] as const)
	test(`a diff cannot be applied to ${name}`, async () => {
		const { diff, unpacked } = client();
		const wrong = ApplyRequest.fromPartial({ ...request("sha256:a"), mounts: [...mounts] });
		await assert.rejects(diff.apply(wrong, "a"), { code });
		assert.deepEqual(unpacked, []);
	});

test("making a diff is not there yet", async () => {
	await assert.rejects(client().diff.diff(DiffRequest.fromPartial({}), "a"), { code: "Unimplemented" });
});
