import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { contentStoreContract } from "./content-store.test-suite.ts";
import { digestOf } from "./digest.ts";
import { LocalContentStore } from "./local-content-store.ts";

contentStoreContract("on disk", async () => {
	const root = await mkdtemp(join(tmpdir(), "troupe-content-"));
	return {
		store: await LocalContentStore.open(root),
		reopen: () => LocalContentStore.open(root),
		remove: () => rm(root, { recursive: true }),
	};
});

test("blobs and ingests lie where containerd keeps them", async (t) => {
	const root = await mkdtemp(join(tmpdir(), "troupe-content-"));
	t.after(() => rm(root, { recursive: true }));
	const started = new Date("2026-01-02T03:04:05Z");
	const store = await LocalContentStore.open(root, () => started);
	const writer = await store.writer("layer-x", { total: 5 });
	await writer.write(Buffer.from("hello"));
	const ingest = join(root, "ingest", digestOf("layer-x").slice("sha256:".length));
	assert.equal(await readFile(join(ingest, "ref"), "utf8"), "layer-x");
	assert.equal(await readFile(join(ingest, "total"), "utf8"), "5");
	assert.equal(await readFile(join(ingest, "startedat"), "utf8"), started.toISOString());
	assert.equal(await readFile(join(ingest, "data"), "utf8"), "hello");
	await writer.commit();
	const blob = join(root, "blobs", "sha256", digestOf("hello").slice("sha256:".length));
	assert.equal(await readFile(blob, "utf8"), "hello");
	assert.equal((await stat(blob)).mode & 0o777, 0o444);
	assert.deepEqual(await readdir(join(root, "ingest")), []);
});

test("what a crash left of a half-made ingest is swept at the next start", async (t) => {
	const root = await mkdtemp(join(tmpdir(), "troupe-content-"));
	t.after(() => rm(root, { recursive: true }));
	await mkdir(join(root, "ingest", "remnant"), { recursive: true });
	await writeFile(join(root, "ingest", "remnant", "ref"), "x");
	await LocalContentStore.open(root);
	assert.deepEqual(await readdir(join(root, "ingest")), []);
});
