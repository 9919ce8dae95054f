import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it, type TestContext } from "node:test";
import { digestOf } from "../content/digest.ts";
import { LocalContentStore } from "../content/local-content-store.ts";
import { ContentCreate } from "../gen/containerd/events/content.ts";
import { NamespacedContent } from "./content.ts";
import { eventsOf, topicsOf } from "./events-of.test-fixture.ts";
import { labelContract } from "./labels.test-suite.ts";
import { LeaseStore } from "./leases.ts";
import { NamespaceStore } from "./namespaces.ts";
import type { Scope } from "./scope.ts";
import { memoryStore } from "./store/memory-store.ts";

const a = { namespace: "a" };
const b = { namespace: "b" };
const bytes = Buffer.from("the bytes of a layer");
const digest = digestOf(bytes);
const size = bytes.length;

const make = async (t: Pick<TestContext, "after">, policy: "shared" | "isolated" = "shared") => {
	const root = await mkdtemp(join(tmpdir(), "troupe-content-"));
	t.after(() => rm(root, { recursive: true, force: true }));
	const store = memoryStore();
	const backend = await LocalContentStore.open(root);
	return { store, backend, content: new NamespacedContent({ store, backend, policy }), leases: new LeaseStore(store) };
};
const put = async (content: NamespacedContent, scope: Scope, data: Uint8Array = bytes): Promise<void> => {
	const writer = await content.writer(scope, `put-${digestOf(data)}`);
	await writer.write(data);
	await writer.commit();
};
const text = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
	const all: Uint8Array[] = [];
	for await (const chunk of chunks) all.push(chunk);
	return Buffer.concat(all).toString();
};

describe("content of a namespace", () => {
	const roots: string[] = [];
	labelContract("blob", async (labels) => {
		const root = await mkdtemp(join(tmpdir(), "troupe-content-"));
		roots.push(root);
		const content = new NamespacedContent({ store: memoryStore(), backend: await LocalContentStore.open(root) });
		const writer = await content.writer(a, "ref");
		await writer.write(bytes);
		await writer.commit({ labels });
		return {
			labels: () => content.info("a", digest).labels,
			update: (next, paths) => content.update("a", digest, next, paths),
		};
	});
	after(async () => {
		for (const root of roots) await rm(root, { recursive: true });
	});

	it("a blob is stored with the labels of its commit, and seen in its namespace only", async (t) => {
		const { content, store } = await make(t);
		const writer = await content.writer(a, "layer-1", { total: size, expected: digest });
		await writer.write(bytes);
		assert.equal((await content.status("a", "layer-1")).offset, size);
		assert.deepEqual(
			(await content.statuses("a", ["ref~=^layer"])).map(({ ref }) => ref),
			["layer-1"],
		);
		const labels = { "containerd.io/gc.ref.content.0": digest };
		const blob = await writer.commit({ size, expected: digest, labels });
		assert.deepEqual({ digest: blob.digest, size: blob.size, labels: blob.labels }, { digest, size, labels });
		assert.deepEqual(content.info("a", digest), blob);
		assert.equal(await text(content.read("a", digest, { offset: 4 })), "bytes of a layer");
		assert.throws(() => content.info("b", digest), { code: "NotFound" });
		assert.throws(() => content.read("b", digest), { code: "NotFound" });
		assert.deepEqual(await content.statuses("a"), []);
		assert.deepEqual(await eventsOf(store, (data) => ContentCreate.decode(data)), [
			["/content/create", "containerd.events.ContentCreate", { digest, size: BigInt(size) }],
		]);
		await assert.rejects(content.writer(a, "again", { expected: digest }), { code: "AlreadyExists" });
		await assert.rejects(put(content, a), { code: "AlreadyExists" });
		assert.deepEqual(await content.statuses("a"), []);
	});

	it("an ingest goes on where it stopped, is held by one writer, and is unique by namespace", async (t) => {
		const { content } = await make(t);
		const first = await content.writer(a, "ref");
		await first.write(bytes.subarray(0, 3));
		await assert.rejects(content.writer(a, "ref"), { code: "Unavailable" });
		const other = await content.writer(b, "ref");
		assert.equal(other.offset, 0);
		await other.close();
		await first.close();
		const again = await content.writer(a, "ref");
		assert.equal(again.offset, 3);
		await again.write(bytes.subarray(3));
		await assert.rejects(again.commit({ size: size + 1 }), { code: "FailedPrecondition" });
		await content.abort(a, "ref");
		await assert.rejects(content.status("a", "ref"), { code: "NotFound" });
		await assert.rejects(content.abort(a, "ref"), { code: "NotFound" });
		await assert.rejects(content.writer(a, ""), { code: "InvalidArgument" });
	});

	it("shared: a digest that another namespace has is there at commit, without a byte", async (t) => {
		const { content } = await make(t);
		await put(content, a);
		const writer = await content.writer(b, "ref", { expected: digest, total: size });
		assert.equal(writer.offset, size);
		assert.deepEqual([writer.status().total, writer.digest()], [size, digest]);
		assert.equal((await content.status("b", "ref")).offset, size);
		await writer.commit({ size, expected: digest });
		assert.equal(await text(content.read("b", digest)), bytes.toString());
	});

	it("shared: a wrong size or digest is refused, and other bytes are a copy of their own", async (t) => {
		const { content } = await make(t);
		await put(content, a);
		const writer = await content.writer(b, "ref", { expected: digest });
		await assert.rejects(writer.commit({ size: size + 1 }), { code: "FailedPrecondition" });
		await assert.rejects(writer.commit({ expected: digestOf("x") }), { code: "FailedPrecondition" });
		await assert.rejects(writer.truncate(size + 1), { code: "OutOfRange" });
		await writer.truncate(3);
		assert.equal(writer.offset, 3);
		await writer.write(Buffer.from("m"));
		assert.equal((await writer.commit()).digest, digestOf("them"));
		assert.equal(await text(content.read("a", digest)), bytes.toString());
	});

	it("isolated: the bytes are needed, unless a namespace shares by its label", async (t) => {
		const { content, store } = await make(t, "isolated");
		await put(content, a);
		const writer = await content.writer(b, "ref", { expected: digest, total: size });
		assert.equal(writer.offset, 0);
		await writer.write(bytes);
		await writer.commit({ expected: digest });
		assert.equal(content.info("b", digest).size, size);
		await new NamespaceStore(store).update("a", { "containerd.io/namespace.shareable": "true" });
		assert.equal((await content.writer({ namespace: "c" }, "ref", { expected: digest })).offset, size);
	});

	it("a deleted blob leaves its bytes until the sweep, and as long as another namespace has it", async (t) => {
		const { content, backend, store } = await make(t);
		await put(content, a);
		await (await content.writer(b, "ref", { expected: digest })).commit();
		await content.delete(a, digest);
		await assert.rejects(content.delete(a, digest), { code: "NotFound" });
		assert.deepEqual((await content.sweep()).removed, []);
		await content.delete(b, digest);
		assert.equal((await backend.info(digest)).size, size);
		assert.deepEqual((await content.sweep()).removed, [digest]);
		await assert.rejects(backend.info(digest), { code: "NotFound" });
		assert.equal((await topicsOf(store)).at(-1), "/content/delete");
	});

	it("a sweep keeps the bytes that a shared ingest counts on", async (t) => {
		const { content } = await make(t);
		await put(content, a);
		const writer = await content.writer(b, "ref", { expected: digest });
		await content.delete(a, digest);
		assert.deepEqual((await content.sweep()).removed, []);
		await writer.commit();
		assert.equal(await text(content.read("b", digest)), bytes.toString());
	});

	it("a sweep and commits of the same digest at the same time never lose the bytes", async (t) => {
		const { content } = await make(t);
		for (let round = 0; round < 10; round++) {
			await put(content, a);
			const writer = await content.writer(b, `ref-${round}`);
			await writer.write(bytes);
			const deleted = content.delete(a, digest);
			await Promise.all([content.sweep(), writer.commit(), deleted, content.sweep()]);
			assert.equal(await text(content.read("b", digest)), bytes.toString());
			await content.delete(b, digest);
			await content.sweep();
		}
	});

	it("a blob whose bytes are lost can be fetched again", async (t) => {
		const { content, backend } = await make(t);
		await put(content, a);
		await backend.delete(digest);
		const writer = await content.writer(a, "ref", { expected: digest, total: size });
		assert.equal(writer.offset, 0);
		await writer.write(bytes);
		await writer.commit();
		assert.equal(await text(content.read("a", digest)), bytes.toString());
	});

	it("an ingest without metadata is swept, one that a writer holds is left over until it is closed", async (t) => {
		const { content, backend } = await make(t);
		const lost = await backend.writer("lost");
		assert.deepEqual(
			(await content.sweep()).left.map(({ kind, id, error }) => [kind, id, error.code]),
			[["ingest", "lost", "Unavailable"]],
		);
		await lost.close();
		const kept = await content.writer(a, "kept");
		assert.deepEqual((await content.sweep()).removed, ["lost"]);
		await kept.close();
	});

	it("under a lease the ingest belongs to it until commit, then the blob; an unknown lease is NotFound", async (t) => {
		const { content, leases } = await make(t);
		await assert.rejects(content.writer({ ...a, lease: "none" }, "ref"), { code: "NotFound" });
		await leases.create("a", { id: "l", labels: {} });
		const leased = { ...a, lease: "l" };
		const writer = await content.writer(leased, "ref");
		assert.deepEqual(leases.listResources("a", "l"), [{ type: "ingests", id: "ref" }]);
		await writer.write(bytes);
		await writer.commit();
		assert.deepEqual(leases.listResources("a", "l"), [{ type: "content", id: digest }]);
		await leases.create("a", { id: "m", labels: {} });
		await assert.rejects(content.writer({ ...a, lease: "m" }, "ref", { expected: digest }), { code: "AlreadyExists" });
		assert.deepEqual(leases.listResources("a", "m"), [{ type: "content", id: digest }]);
	});

	it("filters select by digest and labels", async (t) => {
		const { content } = await make(t);
		await put(content, a);
		await put(content, a, Buffer.from("other"));
		await content.update("a", digest, { k: "v" }, ["labels.k"]);
		const digests = (filter: string): string[] => content.list("a", [filter]).map((blob) => blob.digest);
		assert.deepEqual(digests("labels.k==v"), [digest]);
		assert.deepEqual(digests(`digest==${digest}`), [digest]);
		assert.equal(content.list("a").length, 2);
	});
});
