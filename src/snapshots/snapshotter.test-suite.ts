import assert from "node:assert/strict";
import { test } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";
import type { Snapshotter } from "./snapshotter.ts";

export const refusedWith = (promise: Promise<unknown>, code: ErrorCode): Promise<void> =>
	assert.rejects(promise, (error) => {
		assert.ok(error instanceof DaemonError, String(error));
		assert.equal(error.code, code, error.message);
		return true;
	});

/** Opens an empty snapshotter that ends with the test. */
export type OpenSnapshotter = (test: { after(action: () => Promise<void>): void }) => Promise<Snapshotter>;

/** The contract of every {@link Snapshotter}. */
export function snapshotterSuite(open: OpenSnapshotter): void {
	const chain = async (snapshotter: Snapshotter, ...names: readonly string[]): Promise<void> => {
		let parent = "";
		for (const name of names) {
			await snapshotter.prepare(`${name} key`, parent);
			await snapshotter.commit(name, `${name} key`);
			parent = name;
		}
	};

	test("a snapshot is prepared, committed under a name, and a parent from then on", async (t) => {
		const snapshotter = await open(t);
		const key = "extract-123-abc sha256:one";
		await snapshotter.prepare(key, "", { a: "1", empty: "" });
		const active = await snapshotter.stat(key);
		assert.deepEqual(
			{ kind: active.kind, name: active.name, parent: active.parent, labels: { ...active.labels } },
			{ kind: "active", name: key, parent: "", labels: { a: "1" } },
		);
		await snapshotter.commit("sha256:one", key, { labels: { b: "2" } });
		await refusedWith(snapshotter.stat(key), "NotFound");
		const committed = await snapshotter.stat("sha256:one");
		assert.equal(committed.kind, "committed");
		assert.deepEqual({ ...committed.labels }, { b: "2" }, "labels are those of the commit");
		await snapshotter.prepare("web", "sha256:one");
		await snapshotter.view("look", "sha256:one");
		assert.deepEqual([...snapshotter.walk()].map(({ name, kind, parent }) => [name, kind, parent]).sort(), [
			["look", "view", "sha256:one"],
			["sha256:one", "committed", ""],
			["web", "active", "sha256:one"],
		]);
	});

	test("keys and names are one space", async (t) => {
		const snapshotter = await open(t);
		await chain(snapshotter, "one");
		await refusedWith(snapshotter.prepare("one", ""), "AlreadyExists");
		await snapshotter.prepare("two", "one");
		await refusedWith(snapshotter.view("two", ""), "AlreadyExists");
		await refusedWith(snapshotter.commit("one", "two"), "AlreadyExists");
		const both = await Promise.allSettled([snapshotter.prepare("same", "one"), snapshotter.prepare("same", "one")]);
		assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
	});

	test("what is not there is NotFound", async (t) => {
		const snapshotter = await open(t);
		await refusedWith(snapshotter.stat("no"), "NotFound");
		await refusedWith(snapshotter.mounts("no"), "NotFound");
		await refusedWith(snapshotter.usage("no"), "NotFound");
		await refusedWith(snapshotter.remove("no"), "NotFound");
		await refusedWith(snapshotter.commit("name", "no"), "NotFound");
		await refusedWith(snapshotter.update("no", {}), "NotFound");
		await refusedWith(snapshotter.prepare("key", "no"), "NotFound");
		await refusedWith(snapshotter.prepare("", ""), "InvalidArgument");
	});

	test("only an active snapshot is committed, only a committed one is a parent", async (t) => {
		const snapshotter = await open(t);
		await chain(snapshotter, "one");
		await snapshotter.view("view", "one");
		await snapshotter.prepare("active", "one");
		await refusedWith(snapshotter.commit("x", "view"), "FailedPrecondition");
		await refusedWith(snapshotter.commit("x", "one"), "FailedPrecondition");
		await refusedWith(snapshotter.prepare("x", "active"), "InvalidArgument");
		await refusedWith(snapshotter.mounts("one"), "FailedPrecondition");
	});

	test("a snapshot with children stays; without them it goes", async (t) => {
		const snapshotter = await open(t);
		await chain(snapshotter, "one", "two");
		await refusedWith(snapshotter.remove("one"), "FailedPrecondition");
		await snapshotter.remove("two");
		await snapshotter.remove("one");
		assert.deepEqual([...snapshotter.walk()], []);
		await snapshotter.cleanup();
		await snapshotter.prepare("one", "");
	});

	test("labels change by field, empty ones vanish", async (t) => {
		const snapshotter = await open(t);
		await snapshotter.prepare("key", "", { a: "1", b: "2" });
		const labels = async (...args: Parameters<Snapshotter["update"]>) => ({
			...(await snapshotter.update(...args)).labels,
		});
		assert.deepEqual(await labels("key", { a: "9", c: "3" }, ["labels.c"]), { a: "1", b: "2", c: "3" });
		assert.deepEqual(await labels("key", { a: "" }, ["labels.a"]), { b: "2", c: "3" });
		assert.deepEqual(await labels("key", { z: "1" }), { z: "1" });
		assert.deepEqual(await labels("key", { y: "1" }, ["labels"]), { y: "1" });
		await refusedWith(snapshotter.update("key", {}, ["parent"]), "InvalidArgument");
		const { created, updated } = await snapshotter.stat("key");
		assert.ok(updated >= created);
	});

	test("rebase: a layer gets its parent when it is committed", async (t) => {
		const snapshotter = await open(t);
		if (!snapshotter.capabilities.includes("rebase")) return t.skip("SKIPPED: no rebase");
		await snapshotter.prepare("second", "");
		await refusedWith(snapshotter.commit("two", "second", { parent: "one" }), "NotFound");
		await chain(snapshotter, "one", "other");
		await snapshotter.commit("two", "second", { parent: "one" });
		assert.equal((await snapshotter.stat("two")).parent, "one");
		await refusedWith(snapshotter.remove("one"), "FailedPrecondition");
		await snapshotter.prepare("third", "one");
		await refusedWith(snapshotter.commit("x", "third", { parent: "other" }), "FailedPrecondition");
		await snapshotter.commit("three", "third", { parent: "one" });
	});

	test("usage is what whoever filled the snapshot has counted", async (t) => {
		const snapshotter = await open(t);
		await snapshotter.prepare("key", "");
		assert.ok((await snapshotter.usage("key")).inodes >= 0n);
		await snapshotter.commit("one", "key", { usage: { size: 123n, inodes: 4n } });
		assert.deepEqual({ ...(await snapshotter.usage("one")) }, { size: 123n, inodes: 4n });
		await snapshotter.view("view", "one");
		assert.deepEqual({ ...(await snapshotter.usage("view")) }, { size: 0n, inodes: 0n });
	});
}
