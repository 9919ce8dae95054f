import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { digestOf } from "../../content/digest.ts";
import { LocalContentStore } from "../../content/local-content-store.ts";
import {
	ContentDefinition,
	WriteAction,
	type WriteContentRequest,
	WriteContentRequest as WriteContentRequestMessage,
	type WriteContentResponse,
} from "../../gen/containerd/services/content/v1/content.ts";
import { NamespacedContent } from "../../metadata/content.ts";
import { LeaseStore } from "../../metadata/leases.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { type DirectCall, type DirectClient, directClient } from "../direct-client.test-fixture.ts";
import { contentService } from "./content.service.ts";

const { STAT, WRITE, COMMIT } = WriteAction;
type Client = DirectClient<typeof ContentDefinition>;

async function make(t: TestContext) {
	const root = await mkdtemp(join(tmpdir(), "troupe-content-service-"));
	t.after(() => rm(root, { recursive: true, force: true }));
	const store = memoryStore();
	const content = new NamespacedContent({ store, backend: await LocalContentStore.open(root) });
	return { content: directClient(ContentDefinition, contentService(content)), leases: new LeaseStore(store) };
}

const message = (fields: Partial<WriteContentRequest>) =>
	WriteContentRequestMessage.fromPartial({ ref: "r", ...fields });
const bytes = Buffer.from("hello, layer");
const digest = digestOf(bytes);

/** One Write call that the test drives message by message. */
function writeCall(content: Client, to: string | DirectCall = "a") {
	let deliver = Promise.withResolvers<WriteContentRequest | undefined>();
	async function* requests() {
		for (;;) {
			const next = await deliver.promise;
			deliver = Promise.withResolvers();
			if (next === undefined) return;
			yield next;
		}
	}
	const answers = content.write(requests(), to);
	return {
		async send(fields: Partial<WriteContentRequest>): Promise<WriteContentResponse> {
			deliver.resolve(message(fields));
			const { value, done } = await answers.next();
			assert.equal(done, false, "the call has ended");
			return value;
		},
		/** The client half-closes, or breaks off. */
		async end(): Promise<void> {
			deliver.resolve(undefined);
			assert.equal((await answers.next()).done, true);
		},
		/** After a commit nothing more comes. */
		ended: async () => assert.equal((await answers.next()).done, true),
	};
}

async function put(content: Client, data: Uint8Array, to: string | DirectCall = "a", labels = {}) {
	const call = writeCall(content, to);
	const expected = digestOf(data);
	await call.send({ action: STAT, ref: `put-${expected}`, total: BigInt(data.length), expected });
	for (let at = 0; at < data.length; at += 1 << 20)
		await call.send({ action: WRITE, offset: BigInt(at), data: data.subarray(at, at + (1 << 20)) });
	await call.send({ action: COMMIT, offset: BigInt(data.length), total: BigInt(data.length), expected, labels });
	await call.ended();
}

test("a write is answered message by message, and ends with its commit", async (t) => {
	const { content } = await make(t);
	const call = writeCall(content);
	const stat = await call.send({ action: STAT, total: 12n, expected: digest });
	assert.equal(stat.offset, 0n);
	assert.equal(stat.total, 12n);
	assert.ok(stat.startedAt);
	assert.equal((await call.send({ action: WRITE, offset: 0n, data: bytes.subarray(0, 5) })).offset, 5n);
	assert.equal((await call.send({ action: STAT })).digest, digestOf(bytes.subarray(0, 5)));
	const commit = await call.send({ action: COMMIT, offset: 5n, data: bytes.subarray(5), labels: { a: "b" } });
	assert.deepEqual([commit.action, commit.offset, commit.digest], [COMMIT, 12n, digest]);
	await call.ended();
	const { info } = await content.info({ digest }, "a");
	assert.deepEqual([info?.size, info?.labels], [12n, { a: "b" }]);
});

test("a broken write goes on where it stopped", async (t) => {
	const { content } = await make(t);
	const first = writeCall(content);
	await first.send({ action: WRITE, data: bytes.subarray(0, 7) });
	await first.end();
	assert.equal((await content.status({ ref: "r" }, "a")).status?.offset, 7n);
	const second = writeCall(content);
	assert.equal((await second.send({ action: STAT })).offset, 7n);
	await second.send({ action: COMMIT, offset: 7n, data: bytes.subarray(7), expected: digest });
	await second.ended();
	assert.equal((await content.listStatuses({ filters: [] }, "a")).statuses.length, 0);
});

test("the first message needs a ref, and locks it", async (t) => {
	const { content } = await make(t);
	await assert.rejects(writeCall(content).send({ ref: "" }), { code: "InvalidArgument" });
	const first = writeCall(content);
	await first.send({ action: STAT });
	await assert.rejects(writeCall(content).send({ action: STAT }), { code: "Unavailable" });
	await first.end();
	const next = writeCall(content);
	await next.send({ action: STAT });
	await next.end();
});

test("an offset must be where the ingest is; 0 starts anew, also with a commit", async (t) => {
	const { content } = await make(t);
	const wrong = writeCall(content);
	await wrong.send({ action: WRITE, data: bytes });
	await assert.rejects(wrong.send({ action: WRITE, offset: 5n, data: bytes }), { code: "OutOfRange" });
	const again = writeCall(content);
	assert.equal((await again.send({ action: WRITE, offset: 0n, data: bytes.subarray(0, 3) })).offset, 3n);
	await assert.rejects(again.send({ action: COMMIT, offset: 0n, total: 3n }), { code: "FailedPrecondition" });
});

test("size and digest are checked at commit", async (t) => {
	const { content } = await make(t);
	for (const wrong of [{ total: 11n }, { expected: digestOf("other") }]) {
		const call = writeCall(content);
		await call.send({ action: STAT });
		await assert.rejects(call.send({ action: COMMIT, data: bytes, ...wrong }), { code: "FailedPrecondition" });
	}
	await assert.rejects(content.info({ digest }, "a"), { code: "NotFound" });
});

test("a blob that is there already ends the call with AlreadyExists, whichever message names it", async (t) => {
	const { content } = await make(t);
	await put(content, bytes);
	await assert.rejects(writeCall(content).send({ action: STAT, expected: digest }), { code: "AlreadyExists" });
	const late = writeCall(content);
	await late.send({ action: WRITE, data: bytes.subarray(0, 2) });
	await assert.rejects(late.send({ action: WRITE, offset: 2n, expected: digest }), { code: "AlreadyExists" });
	await assert.rejects(content.status({ ref: "r" }, "a"), { code: "NotFound" });
	const unknowing = writeCall(content);
	await unknowing.send({ action: WRITE, data: bytes });
	await assert.rejects(unknowing.send({ action: COMMIT, offset: 12n }), { code: "AlreadyExists" });
});

test("bytes that another namespace has need not be sent", async (t) => {
	const { content } = await make(t);
	await put(content, bytes, "a");
	const call = writeCall(content, "b");
	assert.equal((await call.send({ action: STAT, total: 12n, expected: digest })).offset, 12n);
	await call.send({ action: COMMIT, offset: 12n, total: 12n, expected: digest });
	await call.ended();
	assert.equal((await content.info({ digest }, "b")).info?.size, 12n);
});

test("a blob joins the lease of the call; an unknown lease is NotFound", async (t) => {
	const { content, leases } = await make(t);
	await leases.create("a", { id: "l", labels: {} });
	await put(content, bytes, { namespace: "a", lease: "l" });
	assert.deepEqual(leases.listResources("a", "l"), [{ type: "content", id: digest }]);
	await assert.rejects(put(content, Buffer.from("x"), { namespace: "a", lease: "none" }), { code: "NotFound" });
});

test("a blob is read in messages of at most 1 MiB, from an offset, at most a size", async (t) => {
	const { content } = await make(t);
	const large = Buffer.alloc(2_500_000, "abcdefg");
	await put(content, large);
	const request = { digest: digestOf(large), offset: 0n, size: 0n };
	const seen: Uint8Array[] = [];
	for await (const { offset, data } of content.read(request, "a")) {
		assert.ok(data.length <= 1 << 20);
		assert.equal(offset, BigInt(Buffer.concat(seen).length));
		seen.push(data);
	}
	assert.ok(Buffer.concat(seen).equals(large));
	const part: Uint8Array[] = [];
	for await (const { data } of content.read({ ...request, offset: 2_000_000n, size: 10n }, "a")) part.push(data);
	assert.ok(Buffer.concat(part).equals(large.subarray(2_000_000, 2_000_010)));
	for await (const _ of content.read({ ...request, offset: 2_500_000n }, "a")) assert.fail("nothing is left");
	await assert.rejects(content.read({ ...request, offset: 2_500_001n }, "a").next(), { code: "OutOfRange" });
	await assert.rejects(content.read({ ...request, digest: digestOf("no") }, "a").next(), { code: "NotFound" });
	await assert.rejects(content.read({ ...request, digest: "x" }, "a").next(), { code: "InvalidArgument" });
});

test("a list comes in messages of a hundred", async (t) => {
	const { content } = await make(t);
	for (let number = 0; number < 101; number += 1) await put(content, Buffer.from(String(number)));
	const sizes: number[] = [];
	for await (const { info } of content.list({ filters: [] }, "a")) sizes.push(info.length);
	assert.deepEqual(sizes, [100, 1]);
	const filtered: string[] = [];
	for await (const { info } of content.list({ filters: [`digest==${digestOf("7")}`] }, "a"))
		filtered.push(...info.map((blob) => blob.digest));
	assert.deepEqual(filtered, [digestOf("7")]);
});

test("labels are changed by a mask, a blob and an ingest can be given up", async (t) => {
	const { content } = await make(t);
	await put(content, bytes, "a", { a: "1" });
	const info = { digest, labels: { b: "2" }, size: 0n, createdAt: undefined, updatedAt: undefined };
	const updated = await content.update({ info, updateMask: ["labels.b"] }, "a");
	assert.deepEqual(updated.info?.labels, { a: "1", b: "2" });
	await content.delete({ digest }, "a");
	await assert.rejects(content.delete({ digest }, "a"), { code: "NotFound" });
	const call = writeCall(content);
	await call.send({ action: WRITE, data: bytes });
	await assert.rejects(content.abort({ ref: "r" }, "a"), { code: "Unavailable" });
	await call.end();
	await content.abort({ ref: "r" }, "a");
	await assert.rejects(content.abort({ ref: "r" }, "a"), { code: "NotFound" });
});
