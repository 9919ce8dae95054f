import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";
import type { ContentStore } from "./content-store.ts";
import { type Digest, digestOf } from "./digest.ts";

export const rejectsWith = (code: ErrorCode, promise: Promise<unknown>): Promise<void> =>
	assert.rejects(promise, (error: unknown) => {
		assert.ok(error instanceof DaemonError, String(error));
		assert.equal(error.code, code, error.message);
		return true;
	});

export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
	const all: Uint8Array[] = [];
	for await (const chunk of chunks) all.push(chunk);
	return Buffer.concat(all);
}

export interface ContentStoreFixture {
	readonly store: ContentStore;
	/** A second life of the same store, as after a restart of the process. */
	reopen(): Promise<ContentStore>;
	remove(): Promise<void>;
}

/** What every content store must do. */
export function contentStoreContract(name: string, make: () => Promise<ContentStoreFixture>): void {
	describe(`content store contract: ${name}`, () => {
		let fixture: ContentStoreFixture;
		let store: ContentStore;
		beforeEach(async () => {
			fixture = await make();
			store = fixture.store;
		});
		afterEach(() => fixture.remove());

		const bytes = randomBytes(3 << 20);
		const digest = digestOf(bytes);
		const put = async (content: Uint8Array): Promise<Digest> => {
			const writer = await store.writer(`put-${digestOf(content)}`);
			await writer.write(content);
			return (await writer.commit()).digest;
		};

		test("what was written can be read, whole and in ranges", async () => {
			const writer = await store.writer("layer", { total: bytes.length, expected: digest });
			await writer.write(bytes.subarray(0, 1000));
			await writer.write([bytes.subarray(1000, 1001), bytes.subarray(1001)]);
			assert.equal(writer.offset, bytes.length);
			const info = await writer.commit({ size: bytes.length, expected: digest });
			assert.deepEqual({ digest: info.digest, size: info.size }, { digest, size: bytes.length });
			assert.ok(bytes.equals(await collect(store.read(digest))));
			const range = { offset: 1_500_000, length: 70_000 };
			assert.ok(bytes.subarray(1_500_000, 1_570_000).equals(await collect(store.read(digest, range))));
			assert.equal((await collect(store.read(digest, { offset: bytes.length }))).length, 0);
			assert.ok(bytes.equals(await readFile(store.path(digest))));
			assert.deepEqual(await store.statuses(), []);
		});

		test("bytes written in any pieces have the digest of the whole", async () => {
			const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 12 });
			await fc.assert(
				fc.asyncProperty(pieces, async (chunks) => {
					const whole = Buffer.concat(chunks);
					const writer = await store.writer("pieces");
					for (const chunk of chunks) await writer.write(chunk);
					assert.equal(writer.digest(), digestOf(whole));
					assert.equal(writer.offset, whole.length);
					await writer.discard();
				}),
				{ numRuns: 30 },
			);
		});

		test("a read beyond the end is OutOfRange, of an unknown blob NotFound", async () => {
			await put(bytes);
			await rejectsWith("OutOfRange", collect(store.read(digest, { offset: bytes.length + 1 })));
			await rejectsWith("NotFound", collect(store.read(digestOf("other"))));
			await rejectsWith("NotFound", store.info(digestOf("other")));
		});

		test("what is no digest never becomes a path", async () => {
			for (const bad of [
				"",
				"sha256:",
				"sha256:../../etc/passwd",
				`md5:${"0".repeat(32)}`,
				`sha256:${"A".repeat(64)}`,
			]) {
				await rejectsWith("InvalidArgument", store.info(bad));
				await rejectsWith("InvalidArgument", store.writer("ref", { expected: bad }));
			}
		});

		test("an ingest has one writer; a second one is told that the ref is locked", async () => {
			const opening = store.writer("layer");
			await rejectsWith("Unavailable", store.writer("layer"));
			const writer = await opening;
			await rejectsWith("Unavailable", store.writer("layer"));
			await rejectsWith("Unavailable", store.abort("layer"));
			await writer.close();
			await (await store.writer("layer")).discard();
		});

		test("a closed ingest goes on where it stopped, also after a restart", async () => {
			const first = await store.writer("layer", { total: bytes.length });
			await first.write(bytes.subarray(0, 2_000_000));
			await first.close();
			const status = await store.status("layer");
			assert.deepEqual([status.offset, status.total], [2_000_000, bytes.length]);
			const later = await fixture.reopen();
			const second = await later.writer("layer", { expected: digest });
			assert.equal(second.offset, 2_000_000);
			assert.equal(second.digest(), digestOf(bytes.subarray(0, 2_000_000)));
			assert.equal(second.status().startedAt.getTime(), status.startedAt.getTime());
			await second.write(bytes.subarray(2_000_000));
			assert.equal((await second.commit({ size: bytes.length })).digest, digest);
		});

		test("a resume can be cancelled, and the ref is free again", async () => {
			const first = await store.writer("layer");
			await first.write(bytes);
			await first.close();
			await rejectsWith("Canceled", store.writer("layer", { signal: AbortSignal.abort() }));
			const again = await store.writer("layer");
			assert.equal(again.offset, bytes.length);
			await again.close();
		});

		test("another total than the ingest's is InvalidArgument", async () => {
			await (await store.writer("layer", { total: 10 })).close();
			await rejectsWith("InvalidArgument", store.writer("layer", { total: 11 }));
			await (await store.writer("layer", { total: 10 })).close();
		});

		test("truncate throws away the tail", async () => {
			const writer = await store.writer("layer");
			await writer.write(bytes.subarray(0, 5000));
			await rejectsWith("OutOfRange", writer.truncate(5001));
			await writer.truncate(100);
			assert.equal(writer.digest(), digestOf(bytes.subarray(0, 100)));
			await writer.truncate(0);
			await writer.write(bytes.subarray(7, 9));
			const { digest: found, size } = await writer.commit();
			assert.deepEqual([found, size], [digestOf(bytes.subarray(7, 9)), 2]);
			assert.equal((await store.readAll(found, 2)).length, 2);
			await rejectsWith("ResourceExhausted", store.readAll(found, 1));
		});

		test("a commit of the wrong size or digest is FailedPrecondition, and the ingest stays", async () => {
			for (const wrong of [{ size: 11 }, { expected: digest }, { expected: `sha512:${"0".repeat(128)}` }]) {
				const writer = await store.writer("layer");
				await writer.truncate(0);
				await writer.write(bytes.subarray(0, 10));
				await rejectsWith("FailedPrecondition", writer.commit(wrong));
				await rejectsWith("FailedPrecondition", writer.write(bytes));
				assert.equal((await store.status("layer")).offset, 10);
			}
			await rejectsWith("NotFound", store.info(digest));
		});

		test("a commit of what is there already is AlreadyExists, and the ingest is gone", async () => {
			const late = await store.writer("late", { expected: digest });
			await late.write(bytes);
			await put(bytes);
			await rejectsWith("AlreadyExists", late.commit());
			await rejectsWith("NotFound", store.status("late"));
			await rejectsWith("AlreadyExists", store.writer("again", { expected: digest }));
			await rejectsWith("NotFound", store.status("again"));
		});

		test("other registered algorithms are computed when they are expected", async () => {
			const expected = digestOf(bytes, "sha512");
			const writer = await store.writer("layer", { expected });
			await writer.write(bytes);
			assert.equal((await writer.commit()).digest, expected);
			assert.equal((await store.info(expected)).size, bytes.length);
		});

		test("an empty blob is a blob", async () => {
			const writer = await store.writer("empty");
			const info = await writer.commit();
			assert.deepEqual([info.digest, info.size], [digestOf(""), 0]);
			assert.equal((await collect(store.read(info.digest))).length, 0);
		});

		test("an aborted ingest is gone", async () => {
			await rejectsWith("NotFound", store.abort("layer"));
			const writer = await store.writer("layer");
			await writer.write(bytes);
			await writer.close();
			await store.abort("layer");
			await rejectsWith("NotFound", store.status("layer"));
			const again = await store.writer("layer");
			assert.equal(again.offset, 0);
			await again.close();
		});

		test("statuses tell of open and closed ingests alike", async () => {
			const open = await store.writer("open", { total: 77, expected: digest });
			await open.write(bytes.subarray(0, 12));
			const closed = await store.writer("closed/with a path");
			await closed.close();
			const found = (await store.statuses()).toSorted((a, b) => a.ref.localeCompare(b.ref));
			assert.deepEqual(
				found.map(({ ref, offset, total, expected }) => ({ ref, offset, total, expected })),
				[
					{ ref: "closed/with a path", offset: 0, total: 0, expected: undefined },
					{ ref: "open", offset: 12, total: 77, expected: digest },
				],
			);
			await open.close();
		});

		test("walk finds every blob, delete removes one", async () => {
			const digests = [await put(Buffer.from("a")), await put(Buffer.from("b"))].toSorted();
			const walk = async (): Promise<Digest[]> => {
				const found: Digest[] = [];
				for await (const info of store.walk()) found.push(info.digest);
				return found.toSorted();
			};
			assert.deepEqual(await walk(), digests);
			await store.delete(digests[0] ?? "");
			await rejectsWith("NotFound", store.delete(digests[0] ?? ""));
			assert.deepEqual(await walk(), digests.slice(1));
		});

		test("a reader reads on when its blob is deleted", async () => {
			await put(bytes);
			const reader = store.read(digest)[Symbol.asyncIterator]();
			const first = await reader.next();
			await store.delete(digest);
			let length = first.value?.length ?? 0;
			for (let step = await reader.next(); step.done !== true; step = await reader.next()) length += step.value.length;
			assert.equal(length, bytes.length);
		});
	});
}
