import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { withSource } from "../../actors/images/content-labels.ts";
import { digestOf } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { childLabels } from "./gc-labels.ts";
import { chainIds, parseDiffIds, parseManifest } from "./manifest.ts";
import { mediaTypes } from "./media-types.ts";

const digest = digestOf("x");
const of = (mediaType: string) => ({ mediaType, digest, size: 1 });
const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const config = of(mediaTypes.ociConfig);
const layer = of(mediaTypes.ociLayer);
const refuses = (code: string, run: () => unknown): void =>
	assert.throws(run, (error: unknown) => error instanceof DaemonError && error.code === code);

describe("manifests", () => {
	for (const mediaType of [mediaTypes.ociManifest, mediaTypes.dockerManifest])
		test(`${mediaType} has a config and layers`, () => {
			const parsed = parseManifest(of(mediaType), bytes({ schemaVersion: 2, config, layers: [layer], more: 1 }));
			assert.deepEqual(parsed, { manifest: { config, layers: [layer] } });
		});

	for (const mediaType of [mediaTypes.ociIndex, mediaTypes.dockerList])
		test(`${mediaType} has manifests`, () => {
			const child = { ...of(mediaTypes.ociManifest), platform: { os: "linux", architecture: "arm", variant: "v7" } };
			assert.deepEqual(parseManifest(of(mediaType), bytes({ mediaType, manifests: [child] })), {
				index: { manifests: [child] },
			});
		});

	test("schema 1 is refused in words", () => {
		for (const mediaType of [mediaTypes.dockerSchema1, "text/plain", mediaTypes.ociManifest])
			refuses("Unimplemented", () => parseManifest(of(mediaType), bytes({ schemaVersion: 1 })));
		assert.throws(() => parseManifest(of(mediaTypes.dockerSchema1), bytes({})), /schema 1 is not supported/);
	});

	test("a blob that is both an index and a manifest is neither", () => {
		refuses("InvalidArgument", () => parseManifest(of(mediaTypes.ociIndex), bytes({ manifests: [], layers: [] })));
		refuses("InvalidArgument", () =>
			parseManifest(of(mediaTypes.ociManifest), bytes({ config, layers: [], manifests: [] })),
		);
		const lie = { mediaType: mediaTypes.ociIndex, config, layers: [] };
		refuses("InvalidArgument", () => parseManifest(of(mediaTypes.ociManifest), bytes(lie)));
	});

	test("other types are no images", () =>
		refuses("Unimplemented", () => parseManifest(of("application/json"), bytes({}))));

	test("any JSON parses or is refused in words", () => {
		fc.assert(
			fc.property(fc.jsonValue(), fc.constantFrom(mediaTypes.ociIndex, mediaTypes.ociManifest), (value, mediaType) => {
				try {
					parseManifest(of(mediaType), bytes(value));
				} catch (error) {
					assert.ok(error instanceof DaemonError, String(error));
				}
			}),
		);
	});

	test("diff ids come from the configuration", () => {
		assert.deepEqual(parseDiffIds(config, bytes({ rootfs: { type: "layers", diff_ids: [digest] } })), [digest]);
		refuses("InvalidArgument", () => parseDiffIds(config, bytes({ rootfs: { diff_ids: ["x"] } })));
		refuses("InvalidArgument", () => parseDiffIds(config, Buffer.from([0xff])));
	});

	test("chain ids name the layers below", () => {
		const [a, b, c] = ["a", "b", "c"].map((text) => digestOf(text));
		const second = digestOf(`${a} ${b}`);
		assert.deepEqual(chainIds([a ?? "", b ?? "", c ?? ""]), [a, second, digestOf(`${second} ${c}`)]);
		assert.deepEqual(chainIds([]), []);
	});
});

describe("labels of content", () => {
	test("a manifest keeps its config and layers, an index its manifests", () => {
		const other = of("application/vnd.example");
		const key = (name: string) => `containerd.io/gc.ref.content.${name}`;
		assert.deepEqual(childLabels([config, layer, layer, other]), {
			[key("config")]: digest,
			[key("l.0")]: digest,
			[key("l.1")]: digest,
			[key("0")]: digest,
		});
		const manifest = of(mediaTypes.dockerManifest);
		assert.deepEqual(Object.keys(childLabels([manifest, manifest])), [key("m.0"), key("m.1")]);
	});

	test("repositories are collected in order, without doubles, up to the length of a label", () => {
		assert.equal(withSource("k", undefined, "b"), "b");
		assert.equal(withSource("k", "b", "a"), "a,b");
		assert.equal(withSource("k", "a,b", "b"), "a,b");
		assert.equal(withSource("k", "x".repeat(4000), "y".repeat(200)), "x".repeat(4000));
	});
});
