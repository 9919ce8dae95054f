import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { scratch } from "../diff/apply/layer.test-fixture.ts";
import { type TestEntry, tarOf } from "../diff/tar/tar-writer.test-fixture.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { growingBlob } from "./growing-blob.ts";
import { igzipPath } from "./gunzip-filter.ts";
import { UnpackPool } from "./unpack-pool.ts";
import type { LayerSource, Unpacked, UnpackProgress, UnpackRequest } from "./unpacker.ts";

const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
const sha256 = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Some megabytes that do not compress to nothing, so that chunks, pipes and members end anywhere. */
const noise = Buffer.alloc(3_000_000);
for (let index = 0, state = 1; index < noise.length; index++) {
	state ^= state << 13;
	state ^= state >>> 17;
	state ^= state << 5;
	noise[index] = state & 0x3f;
}
const entries: readonly TestEntry[] = [
	{ name: "dir/", type: "5", mode: 0o2750 },
	{ name: "dir/noise", body: noise, mode: 0o666 },
	...Array.from({ length: 40 }, (_, index) => ({ name: `dir/${index}`, body: `file ${index}` })),
	{ name: "link", type: "2", link: "dir/noise" },
];
const tar = tarOf(entries);
const half = 1_234_567;

const gunzips: readonly (readonly [name: string, options: { readonly gunzip?: string }, skip: string | undefined])[] = [
	["igzip", {}, igzipPath === undefined ? "SKIPPED: igzip (package isal) is not installed" : undefined],
	["zlib", { gunzip: "zlib" }, undefined],
];
const forms: Readonly<Record<string, () => Buffer>> = {
	"no compression": () => tar,
	gzip: () => gzipSync(tar),
	"gzip in two members": () => Buffer.concat([gzipSync(tar.subarray(0, half)), gzipSync(tar.subarray(half))]),
	zstd: () => zstdCompressSync(tar),
	"zstd in two frames, the first skippable": () =>
		Buffer.concat([
			Buffer.from("502a4d180400000001020304", "hex"),
			zstdCompressSync(tar.subarray(0, half)),
			zstdCompressSync(tar.subarray(half)),
		]),
};

interface Place {
	readonly root: string;
	unpack(request: Partial<UnpackRequest> & { source: LayerSource }, signal?: AbortSignal): Promise<Unpacked>;
	blob(bytes: Uint8Array): { readonly blobPath: string };
}

/** A pool with one thread. At the test's end nothing of its jobs is left: no descriptor, no child process. */
function place(t: TestContext, options: { readonly gunzip?: string } = {}): Place {
	const root = scratch(t);
	const errors: Error[] = [];
	const pool = new UnpackPool({ threads: 1, onError: (error) => errors.push(error), ...options });
	t.after(async () => {
		await pool.close();
		assert.deepEqual(errors, []);
		const open = fs.readdirSync("/proc/self/fd").map((fd) => {
			try {
				return fs.readlinkSync(`/proc/self/fd/${fd}`);
			} catch {
				return ""; // the one that lists
			}
		});
		assert.deepEqual(
			open.filter((path) => path.startsWith(root)),
			[],
		);
		const children = fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
		assert.equal(children, "");
	});
	let count = 0;
	const targetDir = (): string => {
		const path = join(root, `target-${count++}`);
		fs.mkdirSync(path);
		return path;
	};
	return {
		root,
		unpack: (request, signal) =>
			pool.unpack({ mediaType, targetDir: targetDir(), ...request }, signal === undefined ? {} : { signal }),
		blob: (bytes) => {
			const blobPath = join(root, `blob-${count++}`);
			fs.writeFileSync(blobPath, bytes);
			return { blobPath };
		},
	};
}

const refused = (promise: Promise<unknown>, code: string, problem: RegExp): Promise<void> =>
	assert.rejects(promise, (error) => {
		assert.ok(error instanceof DaemonError, String(error));
		assert.equal(error.code, code, error.message);
		assert.match(error.message, problem);
		return true;
	});

/** An ingest that grows piece by piece while the worker reads. */
async function grow(
	path: string,
	bytes: Uint8Array,
	pieces: number,
): Promise<LayerSource & { writing: Promise<void> }> {
	fs.writeFileSync(path, "");
	const writer = growingBlob(path);
	const write = async (): Promise<void> => {
		const step = Math.ceil(bytes.length / pieces);
		for (let at = 0; at < bytes.length; at += step) {
			fs.appendFileSync(path, bytes.subarray(at, at + step));
			writer.advance(Math.min(bytes.length, at + step));
			await new Promise((resolve) => setImmediate(resolve));
		}
		writer.complete(bytes.length);
	};
	return { growing: writer.blob, writing: write() };
}

for (const [gunzip, options, skip] of gunzips)
	for (const [form, bytes] of Object.entries(forms)) {
		const way = form.startsWith("gzip") ? `${form}, by ${gunzip}` : form;
		if (!form.startsWith("gzip") && gunzip !== "zlib") continue;
		test(`a layer is extracted: ${way}`, skip === undefined ? {} : { skip }, async (t) => {
			const { root, unpack, blob } = place(t, options);
			const layer = bytes();
			const check = (target: string, unpacked: Unpacked): void => {
				assert.equal(unpacked.diffId, sha256(tar));
				assert.equal(unpacked.size, tar.length);
				assert.equal(unpacked.entries, entries.length);
				assert.equal(unpacked.usage?.inodes, BigInt(entries.length + 1));
				assert.deepEqual(fs.readFileSync(join(target, "dir/noise")), noise);
				assert.equal((fs.statSync(join(target, "dir/noise")).mode & 0o7777).toString(8), "666");
				assert.equal((fs.statSync(join(target, "dir")).mode & 0o7777).toString(8), "2750");
				assert.equal(fs.readFileSync(join(target, "dir/39"), "utf8"), "file 39");
			};
			const target = (name: string): string => {
				fs.mkdirSync(join(root, name));
				return join(root, name);
			};
			const umask = process.umask();
			const plain = target("plain");
			check(plain, await unpack({ source: blob(layer), targetDir: plain, expectedDiffId: sha256(tar) }));
			const digested = target("digested");
			const source = blob(layer);
			check(digested, await unpack({ source, targetDir: digested, expectedBlobDigest: sha256(layer), sync: true }));
			for (const pieces of [1, 7, 200]) {
				const growing = target(`growing-${pieces}`);
				const { writing, ...ingest } = await grow(join(root, `ingest-${pieces}`), layer, pieces);
				const unpacked = unpack({ source: ingest, targetDir: growing, expectedBlobDigest: sha256(layer) });
				await writing;
				check(growing, await unpacked);
			}
			assert.equal(process.umask(), umask, "the worker's umask is its own");

			await refused(unpack({ source, expectedDiffId: sha256(layer.subarray(1)) }), "DataLoss", /diff ID is sha256:/);
			await refused(unpack({ source, expectedBlobDigest: sha256(noise) }), "DataLoss", /digest is sha256:/);
			const cut = blob(layer.subarray(0, Math.floor(layer.length / 2)));
			await refused(unpack({ source: cut }), "DataLoss", /cut short|gunzip failed|unexpected end/);
			if (form !== "no compression") {
				const damaged = Buffer.from(layer);
				damaged.fill(0x55, layer.length - 500_000, layer.length - 400_000);
				await refused(unpack({ source: blob(damaged) }), "DataLoss", /./);
			}
		});

		test(
			`an extraction that waits for its download is cancelled: ${way}`,
			skip === undefined ? {} : { skip },
			async (t) => {
				const { root, unpack } = place(t, options);
				const layer = bytes();
				const path = join(root, "ingest");
				fs.writeFileSync(path, layer.subarray(0, 100_000));
				const stop = new AbortController();
				const writer = growingBlob(path, 100_000);
				const target = join(root, "target");
				fs.mkdirSync(target);
				const unpacked = unpack({ source: { growing: writer.blob }, targetDir: target }, stop.signal);
				if (form === "no compression")
					await t.waitFor(() => assert.ok(fs.existsSync(join(target, "dir"))), { timeout: 10_000 });
				stop.abort();
				await refused(unpacked, "Canceled", /cancelled/);

				const given = unpack({ source: { growing: writer.blob } });
				writer.fail();
				await refused(given, "Aborted", /gave up/);
			},
		);
	}

test("what is no layer is refused", async (t) => {
	const { unpack, blob, root } = place(t);
	await refused(unpack({ source: blob(Buffer.from("<html>no</html>")) }), "InvalidArgument", /not a tar/);
	await refused(unpack({ source: blob(gzipSync("{}")) }), "InvalidArgument", /not a tar/);
	await refused(unpack({ source: blob(Buffer.from("fd377a585a000004", "hex")) }), "Unimplemented", /xz/);
	await refused(
		unpack({ source: blob(tar), mediaType: "application/vnd.oci.image.config.v1+json" }),
		"InvalidArgument",
		/not a layer/,
	);
	await refused(unpack({ source: { blobPath: join(root, "missing") } }), "NotFound", /ENOENT/);
	await refused(unpack({ source: blob(tar), targetDir: join(root, "missing") }), "NotFound", /ENOENT/);
	await refused(unpack({ source: blob(tar) }, AbortSignal.abort()), "Canceled", /cancelled/);
	assert.equal((await unpack({ source: blob(Buffer.alloc(1024)) })).entries, 0, "an empty archive is a layer");
	assert.equal((await unpack({ source: blob(gzipSync(Buffer.alloc(0))) })).size, 0);
});

test("a gunzip program that cannot be started is an error of the job", async (t) => {
	const { unpack, blob } = place(t, { gunzip: "/nonexistent/gunzip" });
	await assert.rejects(unpack({ source: blob(gzipSync(tar)) }), DaemonError);
	await assert.rejects(unpack({ source: blob(gzipSync(tar)), expectedBlobDigest: sha256(tar) }), DaemonError);
	assert.equal((await unpack({ source: blob(tar) })).entries, entries.length);
});

test("a gunzip program that ends early is an error of the job", async (t) => {
	const { unpack, blob } = place(t, { gunzip: "/bin/false" });
	await refused(unpack({ source: blob(gzipSync(tar)) }), "DataLoss", /gunzip failed \(1\)/);
	await refused(unpack({ source: blob(gzipSync(tar)), expectedBlobDigest: sha256(tar) }), "DataLoss", /gunzip failed/);
});

test("progress is told while a layer waits for its bytes", async (t) => {
	const root = scratch(t);
	const pool = new UnpackPool({ threads: 1, onError: assert.ifError });
	t.after(() => pool.close());
	const path = join(root, "ingest");
	fs.writeFileSync(path, tar);
	const writer = growingBlob(path, 2_000_000);
	fs.mkdirSync(join(root, "target"));
	const told = Promise.withResolvers<UnpackProgress>();
	const onProgress = (progress: UnpackProgress): void => {
		if (progress.bytes >= 1_000_000) told.resolve(progress);
	};
	const request = { source: { growing: writer.blob }, mediaType, targetDir: join(root, "target") };
	const unpacked = pool.unpack(request, { onProgress });
	const progress = await told.promise;
	assert.ok(progress.bytes <= 2_000_000 && progress.entries === 2, JSON.stringify(progress));
	writer.complete(tar.length);
	assert.equal((await unpacked).size, tar.length);
});
