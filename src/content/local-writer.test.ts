import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { rejectsWith } from "./content-store.test-suite.ts";
import { digestOf } from "./digest.ts";
import { IngestDirectory } from "./ingest-directory.ts";
import { LocalWriter } from "./local-writer.ts";

/** A writer on a real file whose handle can be made to fail. */
async function writerOn(t: { after(fn: () => Promise<void>): void }, faults: Partial<FileHandle>) {
	const root = await mkdtemp(join(tmpdir(), "troupe-writer-"));
	t.after(() => rm(root, { recursive: true }));
	const directory = new IngestDirectory(root, "ref");
	await mkdir(join(root, "blobs"));
	const start = await directory.create(0, new Date());
	const handle = await open(directory.data, "r+");
	let released = 0;
	const writer = await LocalWriter.open({
		directory,
		handle: new Proxy(handle, {
			get: (target, name) => {
				const fault: unknown = Reflect.get(faults, name);
				if (fault !== undefined) return fault;
				const value: unknown = Reflect.get(target, name);
				return typeof value === "function" ? value.bind(target) : value;
			},
		}),
		start,
		expected: undefined,
		blobPath: (digest) => join(root, "blobs", digest.slice("sha256:".length)),
		release: () => {
			released++;
		},
		now: () => new Date(),
	});
	return { writer, directory, handle, released: () => released };
}

const failWith = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));

test("a full disk is ResourceExhausted, and nothing is left of the ingest", async (t) => {
	const { writer, directory, released } = await writerOn(t, { writev: failWith("ENOSPC") });
	await rejectsWith("ResourceExhausted", writer.write(Buffer.from("hello")));
	assert.equal(existsSync(directory.path), false);
	assert.equal(released(), 1);
	await writer.close();
	assert.equal(released(), 1);
});

test("a disk that fills at the sync fails the commit, and nothing is left", async (t) => {
	const { writer, directory, released } = await writerOn(t, { sync: failWith("ENOSPC") });
	await writer.write(Buffer.from("hello"));
	await rejectsWith("ResourceExhausted", writer.commit());
	assert.equal(existsSync(directory.path), false);
	assert.equal(released(), 1);
});

test("a disk that fails otherwise closes the writer, the ingest stays", async (t) => {
	const { writer, directory, released } = await writerOn(t, { writev: failWith("EIO") });
	await rejectsWith("Unknown", writer.write(Buffer.from("hello")));
	assert.equal(existsSync(directory.path), true);
	assert.equal(released(), 1);
	await rejectsWith("FailedPrecondition", writer.write(Buffer.from("hello")));
});

test("short writes are finished", async (t) => {
	const parts: { handle?: FileHandle } = {};
	const short = async (list: readonly Uint8Array[], position: number) => {
		const bytes = Buffer.concat(list).subarray(0, 3);
		await parts.handle?.write(bytes, 0, bytes.length, position);
		return { bytesWritten: bytes.length, buffers: list };
	};
	const { writer, handle } = await writerOn(t, { writev: short as unknown as FileHandle["writev"] });
	parts.handle = handle;
	await writer.write([Buffer.from("he"), Buffer.from("llo "), Buffer.from("world")]);
	assert.equal((await writer.commit({ size: 11, expected: digestOf("hello world") })).size, 11);
});
