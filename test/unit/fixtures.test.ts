import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { busyboxImage, hasBusybox } from "../fixtures/busybox-image.ts";
import { buildImage, imageArchive } from "../fixtures/image.ts";
import { sha256 } from "../fixtures/push-image.ts";
import { startRegistry } from "../fixtures/registry.ts";
import { tarOf } from "../fixtures/tar.ts";

const installed = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;

test("GNU tar lists the fixture's entries with their types, modes and owners", () => {
	const archive = tarOf([
		{ name: "d" },
		{ name: "d/f", content: "hello", mode: 0o4711, uid: 7, gid: 8 },
		{ name: "d/s", linkTo: "f" },
		{ name: "d/h", hardLinkTo: "d/f" },
	]);
	const listing = execFileSync("tar", ["--utc", "-tvf", "-"], { input: archive, encoding: "utf8" });
	const lines = listing
		.trim()
		.split("\n")
		.map((line) => line.replace(/\s+/g, " "));
	assert.deepEqual(lines, [
		"drwxr-xr-x 0/0 0 1970-01-01 00:00 d/",
		"-rws--x--x 7/8 5 1970-01-01 00:00 d/f",
		"lrwxr-xr-x 0/0 0 1970-01-01 00:00 d/s -> f",
		"hrwxr-xr-x 0/0 0 1970-01-01 00:00 d/h link to d/f",
	]);
});

test("the same plan gives the same digests", () => {
	const plan = { layers: [[{ name: "a", content: "1" }], [{ name: "b", content: "2" }]] };
	assert.equal(buildImage(plan).manifest.digest, buildImage(plan).manifest.digest);
});

test("an image pushed to the registry comes back byte for byte", {
	skip: installed("docker-registry") && hasBusybox() ? false : "docker-registry or busybox-static is not installed",
}, async () => {
	const directory = mkdtempSync(join(tmpdir(), "troupe-registry-"));
	const registry = await startRegistry(directory);
	try {
		const image = busyboxImage({ layers: [[{ name: "hello", content: "world" }]] });
		const name = await registry.push(image, "test/busybox", "1");
		assert.equal(name, `${registry.host}/test/busybox:1`);
		const accept = { headers: { accept: image.manifest.mediaType } };
		const manifest = await fetch(`http://${registry.host}/v2/test/busybox/manifests/1`, accept);
		assert.equal(manifest.headers.get("docker-content-digest"), image.manifest.digest);
		await manifest.arrayBuffer();
		for (const layer of image.layers) {
			const response = await fetch(`http://${registry.host}/v2/test/busybox/blobs/${layer.digest}`);
			assert.equal(sha256(new Uint8Array(await response.arrayBuffer())), layer.digest);
		}
	} finally {
		await registry.stop();
		rmSync(directory, { recursive: true });
	}
});

test("the archive form is an OCI layout", () => {
	const directory = mkdtempSync(join(tmpdir(), "troupe-archive-"));
	try {
		const image = buildImage({ layers: [[{ name: "a", content: "1" }]] });
		writeFileSync(join(directory, "image.tar"), imageArchive(image, "example.com/a:1"));
		execFileSync("tar", ["-xf", "image.tar"], { cwd: directory });
		const blob = execFileSync("sha256sum", [`blobs/sha256/${image.manifest.digest.slice(7)}`], {
			cwd: directory,
			encoding: "utf8",
		});
		assert.ok(blob.startsWith(image.manifest.digest.slice(7)));
	} finally {
		rmSync(directory, { recursive: true });
	}
});
