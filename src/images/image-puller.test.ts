import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import type { PullState } from "../../actors/images/pull-progress.ts";
import { rejectsWith } from "../content/content-store.test-suite.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { chainIds } from "./manifest.ts";
import { mediaTypes } from "./media-types.ts";
import { hostPlatform } from "./platform.ts";
import { imageOf, pullerOn } from "./puller.test-fixture.ts";
import { ScriptedRegistry } from "./scripted-registry.test-fixture.ts";

const overlay = { snapshotter: "overlayfs", unpack: true };
const needsRoot = process.getuid?.() === 0 ? {} : { skip: "SKIPPED: needs root (owners of extracted files)" };

describe("pulling an image", needsRoot, () => {
	test("content, snapshots, labels and record are as containerd's client leaves them", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["a", "b", "c"]);
		const name = on.push(image);
		const record = await on.puller.pull("default", name, overlay);
		assert.equal(record.name, name);
		assert.deepEqual(
			[record.target.digest, record.target.mediaType],
			[image.manifest.digest, image.manifest.mediaType],
		);
		assert.deepEqual(on.images.get("default", name), record);
		const chain = chainIds(image.diffIds);
		assert.deepEqual(
			on.snapshots
				.list("default")
				.map(({ key, kind, parent, labels }) => ({ key, kind, parent, labels }))
				.toSorted((x, y) => chain.indexOf(x.key) - chain.indexOf(y.key)),
			chain.map((key, at) => ({
				key,
				kind: "committed",
				parent: chain[at - 1] ?? "",
				labels: { "containerd.io/snapshot.ref": key },
			})),
		);
		const labelsOf = (digest: string) => on.content.info("default", digest).labels;
		const source = { [`containerd.io/distribution.source.${on.registry.host}`]: "lib/app" };
		assert.deepEqual(labelsOf(image.manifest.digest), {
			...source,
			"containerd.io/gc.ref.content.config": image.config.digest,
			...Object.fromEntries(image.layers.map(({ digest }, at) => [`containerd.io/gc.ref.content.l.${at}`, digest])),
		});
		assert.deepEqual(labelsOf(image.config.digest), {
			...source,
			"containerd.io/gc.ref.snapshot.overlayfs": chain.at(-1),
		});
		for (const [at, { digest }] of image.layers.entries())
			assert.deepEqual(labelsOf(digest), { ...source, "containerd.io/uncompressed": image.diffIds[at] });
		for (const [at, letter] of ["a", "b", "c"].entries())
			assert.equal(await on.readLayer(chain[at] ?? "", `${letter}.txt`), `content of ${letter}`);
		await on.nothingIsLeft();
		assert.deepEqual(on.errors, []);
	});

	test("the right image of an index, and only that", async (t) => {
		const on = await pullerOn(t);
		const [mine, other] = [imageOf(["mine"]), imageOf(["other"])];
		on.push(mine, "lib/app", "mine");
		on.push(other, "lib/app", "other");
		const { os, architecture } = hostPlatform();
		const child = (image: typeof mine, platform: object) => ({
			mediaType: image.manifest.mediaType,
			digest: image.manifest.digest,
			size: image.manifest.bytes.length,
			platform,
		});
		const manifests = [child(other, { os, architecture: "s390x" }), child(mine, { os, architecture })];
		const index = on.registry.manifest(
			"lib/app",
			"1",
			{ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests },
			mediaTypes.ociIndex,
		);
		const name = `${on.registry.host}/lib/app:1`;
		const record = await on.puller.pull("default", name, overlay);
		assert.equal(record.target.digest, index.digest);
		assert.equal(
			on.content.info("default", index.digest).labels["containerd.io/gc.ref.content.m.1"],
			mine.manifest.digest,
		);
		await rejectsWith("NotFound", on.content.readAll("default", other.manifest.digest, 1e6));
		await on.puller.pull("default", name, { ...overlay, platform: "linux/s390x" });
		assert.equal(await on.readLayer(other.diffIds[0] ?? "", "other.txt"), "content of other");
		await rejectsWith("NotFound", on.puller.pull("default", name, { ...overlay, platform: "linux/riscv64" }));
		await on.nothingIsLeft();
	});

	test("a second pull fetches nothing but the tag, and answers the same", async (t) => {
		const on = await pullerOn(t);
		const name = on.push(imageOf(["a", "b"]));
		const first = await on.puller.pull("default", name, overlay);
		const before = on.registry.requests.length;
		const second = await on.puller.pull("default", name, overlay);
		assert.equal(second.target.digest, first.target.digest);
		assert.deepEqual(
			on.registry.requests.slice(before).map(({ method }) => method),
			["HEAD"],
		);
		assert.equal(on.unpacker.requests.length, 2);
	});

	test("two who ask for the same image share one pull", async (t) => {
		const on = await pullerOn(t);
		const name = on.push(imageOf(["a", "b"]));
		const [one, two] = await Promise.all([1, 2].map(() => on.puller.pull("default", name, overlay)));
		assert.deepEqual(one, two);
		assert.equal(on.registry.seen(/HEAD/).length, 1);
		assert.equal(on.unpacker.requests.length, 2);
	});

	test("two images with common layers fetch and unpack them once", async (t) => {
		const on = await pullerOn(t);
		const one = on.push(imageOf(["a", "b", "c"]), "lib/one");
		const two = on.push(imageOf(["a", "b", "d"]), "lib/two");
		await Promise.all([one, two].map((name) => on.puller.pull("default", name, overlay)));
		assert.equal(on.unpacker.requests.length, 4);
		const [layer] = imageOf(["a"]).layers;
		assert.equal(on.registry.seen(/GET .*blobs/).filter(({ path }) => path.endsWith(layer?.digest ?? "?")).length, 1);
		const labels = on.content.info("default", layer?.digest ?? "").labels;
		assert.equal(labels[`containerd.io/distribution.source.${on.registry.host}`], "lib/one,lib/two");
		await on.nothingIsLeft();
	});

	test("a layer that stands twice in an image is fetched once and extracted for each place", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["a", "b", "a"]);
		await on.puller.pull("default", on.push(image), overlay);
		assert.equal(on.registry.seen(/GET .*blobs/).length, 3); // config, a, b
		assert.equal(on.snapshots.list("default").length, 3);
		await on.nothingIsLeft();
	});

	test("a large layer is extracted while it arrives", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["big"], () => randomBytes(9 << 20));
		const name = on.push(image);
		const [layer] = image.layers;
		const half = Math.floor((layer?.bytes.length ?? 0) / 2);
		const started = Promise.withResolvers<void>();
		on.unpacker.before = async () => started.resolve();
		on.registry.fault(({ path }, response) => {
			if (!path.endsWith(layer?.digest ?? "?")) return false;
			response.writeHead(200, { "content-length": layer?.bytes.length ?? 0 });
			response.write(layer?.bytes.subarray(0, half));
			void started.promise.then(() => response.end(layer?.bytes.subarray(half)));
			return true;
		});
		await on.puller.pull("default", name, overlay);
		assert.ok("growing" in (on.unpacker.requests[0]?.source ?? {}));
		assert.equal(await on.readLayer(image.diffIds[0] ?? "", "big.txt"), "content of big");
		await on.nothingIsLeft();
	});

	test("a download that breaks off goes on where it broke, and the extraction beside it with it", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["big"], () => randomBytes(9 << 20));
		const name = on.push(image);
		const [layer] = image.layers;
		on.registry.fault(({ path }, response) => {
			if (!path.endsWith(layer?.digest ?? "?")) return false;
			response.writeHead(200, { "content-length": layer?.bytes.length ?? 0 });
			return response.write(layer?.bytes.subarray(0, 5_000_000), () => response.socket?.destroySoon()) || true;
		});
		await on.puller.pull("default", name, overlay);
		const ranges = on.registry.seen(/GET .*blobs/).filter(({ path }) => path.endsWith(layer?.digest ?? "?"));
		assert.equal(ranges.length, 2);
		assert.match(ranges[1]?.headers.range ?? "", /^bytes=[1-9]\d+-$/);
		assert.equal(on.unpacker.requests.length, 1);
		assert.equal(await on.readLayer(image.diffIds[0] ?? "", "big.txt"), "content of big");
		await on.nothingIsLeft();
	});

	for (const size of [100, 6 << 20])
		test(`a layer of ${size} bytes with the wrong digest fails the pull; nothing of it stays`, async (t) => {
			const on = await pullerOn(t);
			const image = imageOf(["a"], () => randomBytes(size));
			const name = on.push(image);
			const [layer] = image.layers;
			const wrong = Buffer.from(layer?.bytes ?? []);
			wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
			on.registry.fault(({ path }, response) => path.endsWith(layer?.digest ?? "?") && Boolean(response.end(wrong)), {
				always: true,
			});
			await assert.rejects(on.puller.pull("default", name, overlay), (error: unknown) => {
				assert.ok(error instanceof DaemonError);
				assert.ok(["FailedPrecondition", "DataLoss", "InvalidArgument"].includes(error.code), error.message);
				return true;
			});
			await rejectsWith("NotFound", on.blobs.info(layer?.digest ?? ""));
			await on.nothingIsLeft();
			await rejectsWith(
				"NotFound",
				Promise.resolve().then(() => on.images.get("default", name)),
			);
		});

	test("a mirror that sends wrong bytes is passed over for the registry", async (t) => {
		const [on, mirror] = [await pullerOn(t), await ScriptedRegistry.start()];
		t.after(() => mirror.stop());
		const image = imageOf(["a"], () => randomBytes(6 << 20));
		const name = on.push(image);
		const [layer] = image.layers;
		mirror.fault(
			({ path }, response) => path.includes("/blobs/") && Boolean(response.end(randomBytes(layer?.bytes.length ?? 0))),
			{ always: true },
		);
		await on.configure(`[host."http://${mirror.host}"]\ncapabilities = ["pull"]`);
		// The config is small and comes whole from the mirror: wrong as well.
		await on.puller.pull("default", name, overlay);
		assert.equal(mirror.seen(/blobs/).length, 2);
		assert.equal(on.registry.seen(/GET .*blobs/).length, 2);
		assert.equal(await on.readLayer(image.diffIds[0] ?? "", "a.txt"), "content of a");
		await on.nothingIsLeft();
	});

	test("an ingest that somebody left with wrong bytes is begun anew", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["a"], () => randomBytes(6 << 20));
		const name = on.push(image);
		const writer = await on.content.writer({ namespace: "default" }, `layer-${image.layers[0]?.digest}`);
		await writer.write(randomBytes(1000));
		await writer.close();
		await on.puller.pull("default", name, overlay);
		assert.equal(await on.readLayer(image.diffIds[0] ?? "", "a.txt"), "content of a");
		await on.nothingIsLeft();
	});

	test("a server that falls silent is left, and the next request goes on where it stopped", async (t) => {
		const on = await pullerOn(t, { stallMs: 300 });
		const image = imageOf(["big"], () => randomBytes(9 << 20));
		const name = on.push(image);
		const [layer] = image.layers;
		on.registry.fault(({ path }, response) => {
			if (!path.endsWith(layer?.digest ?? "?")) return false;
			response.writeHead(200, { "content-length": layer?.bytes.length ?? 0 });
			return response.write(layer?.bytes.subarray(0, 5_000_000)) || true;
		});
		await on.puller.pull("default", name, overlay);
		const requests = on.registry.seen(/GET .*blobs/).filter(({ path }) => path.endsWith(layer?.digest ?? "?"));
		assert.match(requests.at(-1)?.headers.range ?? "", /^bytes=[1-9]\d+-$/);
		await on.nothingIsLeft();
	});

	test("a layer that does not unpack to what the config says is refused", async (t) => {
		const on = await pullerOn(t);
		const [image, other] = [imageOf(["a", "b"]), imageOf(["a", "x"])];
		on.push(image);
		const value = JSON.parse(image.manifest.bytes.toString()) as { config: object };
		on.registry.blob(other.config.bytes);
		const config = { mediaType: other.config.mediaType, digest: other.config.digest, size: other.config.bytes.length };
		on.registry.manifest("lib/app", "1", { ...value, config }, image.manifest.mediaType);
		await rejectsWith("FailedPrecondition", on.puller.pull("default", `${on.registry.host}/lib/app:1`, overlay));
		await on.nothingIsLeft();
	});

	test("the last one who leaves ends the pull; its ingest stays for the next", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["big"], () => randomBytes(9 << 20));
		const name = on.push(image);
		const [layer] = image.layers;
		on.registry.fault(({ path }, response) => {
			if (!path.endsWith(layer?.digest ?? "?")) return false;
			response.writeHead(200, { "content-length": layer?.bytes.length ?? 0 });
			return response.write(layer?.bytes.subarray(0, 5_000_000)) || true;
		});
		const [first, second] = [new AbortController(), new AbortController()];
		const halfway = Promise.withResolvers<void>();
		const watch = ({ layers }: PullState): void => {
			if ((layers[0]?.offset ?? 0) > 3_000_000) halfway.resolve();
		};
		const pulls = [
			on.puller.pull("default", name, overlay, watch, first.signal),
			on.puller.pull("default", name, overlay, undefined, second.signal),
		];
		const ends = pulls.map((pull) => rejectsWith("Canceled", pull));
		await halfway.promise;
		first.abort();
		await ends[0];
		assert.notDeepEqual((await on.leftOver()).actors, []);
		second.abort();
		await ends[1];
		// The next pull waits for the end of the cancelled one, and goes on from its ingest.
		await on.puller.pull("default", name, overlay);
		const ranges = on.registry.seen(/GET .*blobs/).filter(({ path }) => path.endsWith(layer?.digest ?? "?"));
		assert.match(ranges.at(-1)?.headers.range ?? "", /^bytes=[1-9]\d+-$/);
		await on.nothingIsLeft();
	});

	test("a full disk is ResourceExhausted, and neither layers nor halves of them stay", async (t) => {
		const on = await pullerOn(t);
		const name = on.push(imageOf(["a", "b"]));
		on.unpacker.before = async ({ targetDir }) => {
			throw new DaemonError("ResourceExhausted", { kind: "layer", id: targetDir }, "no space left on device");
		};
		await assert.rejects(on.puller.pull("default", name, overlay), /no space left on device/);
		await on.nothingIsLeft();
	});

	test("errors of the registry come through as they are", async (t) => {
		const on = await pullerOn(t);
		const at = (rest: string) => `${on.registry.host}/${rest}`;
		await rejectsWith("NotFound", on.puller.pull("default", at("lib/none:1"), overlay));
		await rejectsWith("InvalidArgument", on.puller.pull("default", at("lib/none"), overlay));
		await rejectsWith("InvalidArgument", on.puller.pull("default", "alpine", overlay));
		await rejectsWith("Unavailable", on.puller.pull("default", "127.0.0.1:1/lib/app:1", overlay));
		const name = on.push(imageOf(["a"]));
		await rejectsWith("InvalidArgument", on.puller.pull("default", name, { snapshotter: "none", unpack: true }));
		on.registry.manifest("lib/old", "1", { schemaVersion: 1 }, mediaTypes.dockerSchema1);
		await rejectsWith("Unimplemented", on.puller.pull("default", at("lib/old:1"), overlay));
		on.registry.fault((_, response) => Boolean(response.writeHead(401, { "www-authenticate": "Basic" }).end()), {
			always: true,
		});
		await rejectsWith("Unauthenticated", on.puller.pull("default", name, overlay));
		const credentials = { username: "jane", secret: "wrong" };
		await rejectsWith("PermissionDenied", on.puller.pull("default", name, { ...overlay, credentials }));
		await on.nothingIsLeft();
	});

	test("content can be fetched without unpacking, and unpacked later without fetching", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["a", "b"]);
		const name = on.push(image);
		await on.puller.pull("default", name, { snapshotter: "", unpack: false });
		assert.deepEqual(on.snapshots.list("default"), []);
		for (const { digest } of image.layers) assert.ok(on.content.info("default", digest));
		const before = on.registry.requests.length;
		await on.puller.pull("default", name, overlay);
		assert.equal(on.registry.requests.length, before + 1);
		assert.equal(on.snapshots.list("default").length, 2);
	});

	test("another namespace fetches no blob that is here, and has its own snapshots", async (t) => {
		const on = await pullerOn(t);
		const name = on.push(imageOf(["a", "b"]));
		await on.puller.pull("default", name, overlay);
		const before = on.registry.seen(/blobs/).length;
		await on.puller.pull("other", name, overlay);
		assert.equal(on.registry.seen(/GET .*blobs\/.*/).length - before <= 1, true); // the config is read, layers are not
		assert.equal(on.snapshots.list("other").length, 2);
	});

	test("a blob whose bytes were lost is fetched again", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["a"]);
		const name = on.push(image);
		await on.puller.pull("default", name, { snapshotter: "", unpack: false });
		await on.blobs.delete(image.layers[0]?.digest ?? "");
		await on.puller.pull("default", name, overlay);
		assert.equal((await on.blobs.info(image.layers[0]?.digest ?? "")).size, image.layers[0]?.bytes.length);
	});

	test("progress begins and ends, and is told at most ten times a second", async (t) => {
		const on = await pullerOn(t);
		const image = imageOf(["a", "b"], () => randomBytes(6 << 20));
		const states: PullState[] = [];
		const begin = performance.now();
		await on.puller.pull("default", on.push(image), overlay, (state) => states.push(state));
		const last = states.at(-1);
		assert.equal(states[0]?.phase, "resolving");
		assert.equal(last?.phase, "done");
		assert.equal(last?.target, image.manifest.digest);
		for (const [at, { bytes }] of image.layers.entries()) {
			assert.deepEqual(last?.layers[at]?.offset, bytes.length);
			assert.equal(last?.layers[at]?.phase, "done");
		}
		assert.ok(states.length <= (performance.now() - begin) / 100 + 2, `${states.length} states`);
	});

	test("no more layers are fetched at once than allowed, over all pulls", async (t) => {
		const on = await pullerOn(t);
		let open = 0;
		let most = 0;
		on.registry.fault(
			({ path }, response) => {
				if (!path.includes("/blobs/")) return false;
				most = Math.max(most, ++open);
				response.on("close", () => open--);
				return false;
			},
			{ always: true },
		);
		const names = ["one", "two"].map((repository) =>
			on.push(imageOf(["a", "b", "c", "d", "e"].map((x) => repository + x)), `lib/${repository}`),
		);
		await Promise.all(names.map((name) => on.puller.pull("default", name, overlay)));
		assert.ok(most <= 3 + 2, `${most} at once`); // the two configs are no layers
		await on.nothingIsLeft();
	});
});
