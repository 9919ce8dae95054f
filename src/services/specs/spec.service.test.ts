import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { digestOf } from "../../content/digest.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { GenerateSpecRequest, SpecOptions, SpecsDefinition } from "../../gen/troupe/v1/specs.ts";
import { SysError } from "../../sys/sys-error.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { layerDirectories } from "../layer-directories.ts";
import { type SpecSources, specService } from "./spec.service.ts";

const diffIds = [`sha256:${"1".repeat(64)}`, `sha256:${"2".repeat(64)}`];
const chainId = digestOf(`${diffIds[0]} ${diffIds[1]}`);

/** One image on disk: its blobs, and two layers of which the upper has the users. */
async function client(t: TestContext, config: object = { Cmd: ["sh"], User: "web", StopSignal: "SIGINT" }) {
	const folder = await mkdtemp(join(tmpdir(), "troupe-spec-"));
	t.after(() => rm(folder, { recursive: true }));
	await mkdir(join(folder, "upper/etc"), { recursive: true });
	await mkdir(join(folder, "lower/etc"), { recursive: true });
	await writeFile(join(folder, "upper/etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:7:8::/:/bin/sh\n");
	await writeFile(join(folder, "lower/etc/group"), "wheel:x:10:web\n");
	const blobs = new Map<string, Uint8Array>();
	const put = (mediaType: string, value: object) => {
		const bytes = Buffer.from(JSON.stringify(value));
		const digest = digestOf(bytes);
		blobs.set(digest, bytes);
		return { mediaType, digest, size: bytes.length };
	};
	const configBlob = put("application/vnd.oci.image.config.v1+json", { config, rootfs: { diff_ids: diffIds } });
	const manifest = put("application/vnd.oci.image.manifest.v1+json", { config: configBlob, layers: [] });
	const platform = { os: "linux", architecture: process.arch === "arm64" ? "arm64" : "amd64" };
	const target = put("application/vnd.oci.image.index.v1+json", { manifests: [{ ...manifest, platform }] });
	const looked: string[] = [];
	const notFound = (kind: string, namespace: string, id: string) =>
		new DaemonError("NotFound", { kind, namespace, id }, "not found");
	const sources: SpecSources = {
		target: (namespace, image) => {
			if (namespace === "a" && image === "img") return target;
			throw notFound("image", namespace, image);
		},
		readBlob: async (namespace, digest) => {
			const bytes = blobs.get(digest);
			if (bytes === undefined) throw notFound("content", namespace, digest);
			return bytes;
		},
		defaultSnapshotter: () => "overlayfs",
		mountsOf: async (namespace, snapshotter, name) => {
			looked.push(`${snapshotter} ${name}`);
			if (snapshotter !== "overlayfs") throw notFound("snapshot", namespace, name);
			const options = [`lowerdir=${folder}/upper:${folder}/lower`, "index=off"];
			return [{ type: "overlay", source: "overlay", target: "", options }];
		},
		cgroupNamespace: true,
		kernel: {
			lgetxattr: () => {
				throw new SysError("lgetxattr", 61);
			},
		},
	};
	return { looked, specs: directClient(SpecsDefinition, specService(sources)) };
}

const request = (options: Partial<SpecOptions> = {}, more: Partial<GenerateSpecRequest> = {}) =>
	GenerateSpecRequest.fromPartial({
		containerId: "c",
		image: "img",
		options: SpecOptions.fromPartial(options),
		...more,
	});

const decoded = (any: { value: Uint8Array } | undefined) => JSON.parse(Buffer.from(any?.value ?? []).toString());

test("a spec has the image's command, and its user with the groups of the layers", async (t) => {
	const { specs } = await client(t);
	const { spec, parent, snapshotter, stopSignal } = await specs.generate(request(), "a");
	assert.equal(spec?.typeUrl, "types.containerd.io/opencontainers/runtime-spec/1/Spec");
	assert.deepEqual(
		{ parent, snapshotter, stopSignal },
		{ parent: chainId, snapshotter: "overlayfs", stopSignal: "SIGINT" },
	);
	const { process, linux } = decoded(spec);
	assert.deepEqual(process.args, ["sh"]);
	assert.deepEqual(process.user, { uid: 7, gid: 8, additionalGids: [8, 10] });
	assert.equal(linux.cgroupsPath, "/a/c");
});

test("options of the wire reach the spec", async (t) => {
	const { specs } = await client(t);
	const options = {
		args: ["echo", "hi"],
		entrypoint: { values: ["/bin/env"] },
		env: ["A=b"],
		user: "0",
		memoryLimit: 64n << 20n,
		cpus: 1.5,
		readonlyRootfs: true,
		rlimits: [{ type: "RLIMIT_NOFILE", soft: 10n, hard: 20n }],
		annotations: { x: "y" },
	};
	const { process, linux, root, annotations } = decoded((await specs.generate(request(options), "a")).spec);
	assert.deepEqual(process.args, ["/bin/env", "echo", "hi"]);
	assert.ok(process.env.includes("A=b"));
	assert.equal(process.user.uid, 0);
	assert.deepEqual(process.rlimits, [{ type: "RLIMIT_NOFILE", soft: 10, hard: 20 }]);
	assert.equal(linux.resources.memory.limit, 67108864);
	assert.equal(linux.resources.cpu.quota, 150000);
	assert.equal(root.readonly, true);
	assert.deepEqual(annotations, { x: "y" });
});

test("the users of an image are read once", async (t) => {
	const { specs, looked } = await client(t);
	await specs.generate(request(), "a");
	await specs.generate(request(), "a");
	assert.deepEqual(looked, [`overlayfs ${chainId}`]);
});

test("what is missing is named: the image, its user, its snapshot", async (t) => {
	const { specs } = await client(t);
	await assert.rejects(specs.generate(request({}, { image: "other" }), "a"), { code: "NotFound" });
	await assert.rejects(specs.generate(request({ user: "nobody-there" }), "a"), { code: "NotFound" });
	await assert.rejects(specs.generate(request({}, { snapshotter: "native" }), "a"), {
		code: "FailedPrecondition",
		message: /not unpacked/,
	});
	await assert.rejects(specs.generate(request({ rlimits: [{ type: "x", soft: 0n, hard: 0n }] }), "a"), {
		code: "InvalidArgument",
	});
});

test("directories of an overlay come uppermost first, with escapes undone", () => {
	const overlay = (...options: string[]) => [{ type: "overlay", source: "overlay", target: "", options }];
	assert.deepEqual(layerDirectories(overlay("lowerdir=/a\\:b:/c", "upperdir=/u")), ["/u", "/a:b", "/c"]);
	assert.deepEqual(layerDirectories([{ type: "bind", source: "/s", target: "", options: ["ro", "rbind"] }]), ["/s"]);
	assert.throws(() => layerDirectories([]), { code: "Unimplemented" });
});
