import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Bundles } from "./bundle.ts";

const web = { namespace: "default", id: "web" };
const spec = Buffer.from("{}");
let directory: string;
let bundles: Bundles;
let unmounted: string[];
let onUnmount: () => void;
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "troupe-bundle-"));
	unmounted = [];
	onUnmount = () => {};
	bundles = new Bundles({
		state: join(directory, "state"),
		root: join(directory, "root"),
		unmount: (path) => {
			unmounted.push(path);
			onUnmount();
		},
	});
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test("what a dead daemon has left under the name is replaced", async () => {
	mkdirSync(bundles.path(web), { recursive: true });
	writeFileSync(join(bundles.path(web), "stale"), "");
	await bundles.write(web, spec);
	assert.deepEqual(readdirSync(bundles.path(web)).sort(), ["config.json", "rootfs", "work"]);
	assert.deepEqual(await bundles.spec(web), spec);
});

test("files in a container's root are never deleted", async () => {
	await bundles.write(web, spec);
	const file = join(bundles.path(web), "rootfs", "etc");
	writeFileSync(file, "of the image");
	await assert.rejects(bundles.remove(web), { code: "FailedPrecondition" });
	assert.ok(existsSync(file));
	assert.deepEqual(unmounted, [join(bundles.path(web), "rootfs")]);
});

test("a root that is still mounted is detached, then the bundle goes", async () => {
	await bundles.write(web, spec);
	const file = join(bundles.path(web), "rootfs", "etc");
	writeFileSync(file, "of the mounted image");
	const { rmSync } = await import("node:fs");
	onUnmount = () => rmSync(file); // what a detached mount hides is no longer there
	await bundles.remove(web);
	await bundles.settled();
	assert.deepEqual(readdirSync(join(bundles.path(web), "..")), []);
	assert.deepEqual(readdirSync(join(directory, "root/io.containerd.runtime.v2.task/default")), []);
});

test("absent bundles are removed without an error, and names are free at once", async () => {
	await bundles.remove(web);
	for (let round = 0; round < 5; round++) {
		await bundles.write(web, spec);
		await bundles.remove(web);
	}
	await bundles.settled();
	assert.deepEqual(await bundles.list(), []);
});

test("half removed bundles are finished when bundles are listed", async () => {
	await bundles.write(web, spec);
	const hidden = join(bundles.path(web), "..", ".old.1.1");
	mkdirSync(join(hidden, "deep"), { recursive: true });
	assert.deepEqual(await bundles.list(), [web]);
	assert.equal(existsSync(hidden), false);
});
