import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { TarEntry } from "./tar-entry.ts";
import { TarReader } from "./tar-reader.ts";
import { paxBody, rawEntry, type TestEntry, tarOf } from "./tar-writer.test-fixture.ts";

interface Read {
	readonly entry: TarEntry;
	readonly body: Buffer;
}

/** Reads an archive in chunks of the given sizes, the last size over and over. */
function read(archive: Uint8Array, sizes: readonly number[] = [archive.length]): Read[] {
	const found: { entry: TarEntry; parts: Buffer[]; ended: boolean }[] = [];
	const reader = new TarReader({
		entry: (entry) => found.push({ entry, parts: [], ended: false }),
		content: (chunk, start, end) => found.at(-1)?.parts.push(Buffer.from(chunk.subarray(start, end))),
		entryEnd: () => {
			const last = found.at(-1);
			assert.ok(last !== undefined && !last.ended);
			last.ended = true;
		},
	});
	for (let at = 0, step = 0; at < archive.length; step++) {
		const size = sizes[Math.min(step, sizes.length - 1)] ?? 1;
		// The reader may not keep the chunk: it is overwritten.
		const chunk = Buffer.from(archive.subarray(at, at + size));
		reader.push(chunk);
		chunk.fill(0xaa);
		at += size;
	}
	reader.end();
	assert.ok(found.every(({ ended }) => ended));
	return found.map(({ entry, parts }) => ({ entry, body: Buffer.concat(parts) }));
}

const one = (entry: TestEntry): TarEntry => {
	const [first, ...others] = read(tarOf([entry]));
	assert.ok(first !== undefined && others.length === 0);
	return first.entry;
};

const refused = (archive: Uint8Array, code: string, problem: RegExp): void => {
	assert.throws(
		() => read(archive),
		(error) => {
			assert.ok(error instanceof DaemonError, String(error));
			assert.equal(error.code, code, error.message);
			assert.match(error.message, problem);
			return true;
		},
	);
};

test("an entry has its header's fields", () => {
	const entry = one({ name: "dev/x", type: "3", mode: 0o4755, uid: 7, gid: 8, mtime: 9, major: 10, minor: 11 });
	assert.deepEqual(entry, {
		name: "dev/x",
		link: "",
		type: "character",
		mode: 0o4755,
		uid: 7,
		gid: 8,
		size: 0,
		mtime: { seconds: 9, nanoseconds: 0 },
		major: 10,
		minor: 11,
	});
});

test("PAX records win over the header, and hold for one entry only", () => {
	const pax = {
		path: "a/ä".padEnd(300, "x"),
		uid: "4000000000",
		gid: "3000000",
		mtime: "1600000000.123456789",
		atime: "1600000001.5",
		"SCHILY.xattr.user.bin": Uint8Array.of(0, 10, 255, 61),
	};
	const [first, second] = read(tarOf([{ name: "short", pax }, { name: "next" }]));
	assert.equal(Buffer.from(first?.entry.name ?? "", "latin1").toString(), pax.path);
	assert.equal(first?.entry.uid, 4_000_000_000);
	assert.equal(first?.entry.gid, 3_000_000);
	assert.deepEqual(first?.entry.mtime, { seconds: 1_600_000_000, nanoseconds: 123_456_789 });
	assert.deepEqual(first?.entry.atime, { seconds: 1_600_000_001, nanoseconds: 500_000_000 });
	assert.deepEqual([...(first?.entry.attributes?.get("user.bin") ?? [])], [0, 10, 255, 61]);
	assert.equal(second?.entry.name, "next");
	assert.equal(second?.entry.attributes, undefined);
});

test("a PAX size is the content's size", () => {
	const body = "x".repeat(1000);
	const archive = Buffer.concat([
		rawEntry({ name: "p", type: "x", body: paxBody({ size: "1000" }) }),
		rawEntry({ name: "big", body, size: 0 }),
		Buffer.alloc(1024),
	]);
	assert.equal(read(archive)[0]?.body.toString(), body);
});

test("a PAX link path is the link's target", () => {
	assert.equal(one({ name: "l", type: "2", pax: { linkpath: "t".repeat(200) } }).link, "t".repeat(200));
});

test("a global PAX header is read over", () => {
	const archive = Buffer.concat([
		rawEntry({ name: "pax_global_header", type: "g", body: paxBody({ comment: "abc", uid: "5" }) }),
		tarOf([{ name: "a" }]),
	]);
	const [first] = read(archive);
	assert.equal(first?.entry.name, "a");
	assert.equal(first?.entry.uid, 0);
});

test("GNU long names and links", () => {
	const entry = one({ name: "n".repeat(250), link: "l".repeat(333), type: "2", gnu: true });
	assert.equal(entry.name, "n".repeat(250));
	assert.equal(entry.link, "l".repeat(333));
});

test("base-256 numbers, also negative times", () => {
	const entry = one({ name: "a", uid: 5_000_000, gid: 2 ** 31, mtime: -5, binary: true });
	assert.equal(entry.uid, 5_000_000);
	assert.equal(entry.gid, 2 ** 31);
	assert.deepEqual(entry.mtime, { seconds: 0, nanoseconds: 0 }, "before 1970 is 1970, as in containerd");
});

test("an old archive's directory is a file with a slash at its end", () => {
	assert.equal(one({ name: "d/", type: "\0" }).type, "directory");
});

test("names are bytes: what is no UTF-8 stays as it is", () => {
	const archive = tarOf([{ name: "x" }]);
	archive[0] = 0xe4;
	archive.fill(" ", 148, 156);
	const sum = archive.subarray(0, 512).reduce((total, byte) => total + byte, 0);
	archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
	assert.deepEqual(Buffer.from(read(archive)[0]?.entry.name ?? "", "latin1"), Buffer.of(0xe4));
});

test("what follows the end mark is ignored", () => {
	assert.equal(read(Buffer.concat([tarOf([{ name: "a" }]), Buffer.from("rubbish")])).length, 1);
});

test("an archive without an end mark is whole", () => {
	assert.equal(read(rawEntry({ name: "a", body: "b" })).length, 1);
	assert.equal(read(Buffer.alloc(0)).length, 0);
});

test("clear errors", () => {
	const whole = tarOf([{ name: "a", body: "x".repeat(2000) }]);
	refused(Buffer.from("<html>".repeat(200)), "InvalidArgument", /not a tar/);
	refused(Buffer.from("short"), "InvalidArgument", /not a tar/);
	refused(whole.subarray(0, 1000), "DataLoss", /cut short/);
	refused(whole.subarray(0, 512 + 2000), "DataLoss", /cut short/);
	refused(rawEntry({ name: "p", type: "x", body: paxBody({ path: "b" }) }), "DataLoss", /cut short/);
	refused(tarOf([{ name: "a", type: "S" }]), "Unimplemented", /"a" is sparse/);
	refused(tarOf([{ name: "a", pax: { "GNU.sparse.major": "1" } }]), "Unimplemented", /sparse/);
	refused(tarOf([{ name: "a", type: "V" }]), "InvalidArgument", /"a" has the unknown type "V"/);
	refused(tarOf([{ name: "a", type: "x", size: 2 << 20 }]), "InvalidArgument", /extended header of/);
	refused(tarOf([{ name: "a", pax: { path: "a\0b" } }]), "InvalidArgument", /NUL/);
	refused(tarOf([{ name: "a", pax: { uid: "-1" } }]), "InvalidArgument", /uid/);
	refused(tarOf([{ name: "a", pax: { size: "1e3" } }]), "InvalidArgument", /not a number/);
	refused(tarOf([{ name: "a", pax: { mtime: "soon" } }]), "InvalidArgument", /not a time/);
	refused(tarOf([{ name: "p", type: "x", body: "9 a=b\n" }]), "InvalidArgument", /bad record/);
	refused(tarOf([{ name: "a", size: 2 ** 60, binary: true }]), "InvalidArgument", /too large/);
	const hole = Buffer.concat([rawEntry({ name: "a" }), Buffer.alloc(512), rawEntry({ name: "b" })]);
	refused(hole, "InvalidArgument", /zeroes between/);
	const damaged = tarOf([{ name: "a" }]);
	damaged[3] = 1;
	refused(damaged, "InvalidArgument", /checksum/);
});

const names = fc.stringMatching(/^[a-z]{1,120}$/);
const entries = fc.array(
	fc.record({
		name: names,
		body: fc.uint8Array({ maxLength: 2000 }),
		gnu: fc.boolean(),
		mode: fc.integer({ min: 0, max: 0o7777 }),
	}),
	{ maxLength: 8 },
);

test("however an archive is cut into chunks, the same is read", () => {
	fc.assert(
		fc.property(entries, fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 }), (list, sizes) => {
			const archive = tarOf(list.map((entry) => ({ ...entry, gnu: entry.gnu || entry.name.length > 100 })));
			const found = read(archive, sizes);
			assert.deepEqual(
				found.map(({ entry, body }) => ({ name: entry.name, mode: entry.mode, body: [...body] })),
				list.map(({ name, mode, body }) => ({ name, mode, body: [...body] })),
			);
		}),
		{ numRuns: 200 },
	);
});

test("whatever bytes come, the answer is entries or a DaemonError", () => {
	const some = tarOf([
		{ name: "a", body: "xyz", pax: { path: "b", mtime: "1.5" } },
		{ name: "c", type: "5" },
	]);
	fc.assert(
		fc.property(fc.integer({ min: 0, max: some.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
			const archive = Buffer.from(some);
			archive[at] = byte;
			try {
				read(archive);
			} catch (error) {
				assert.ok(error instanceof DaemonError, String(error));
			}
		}),
		{ numRuns: 500 },
	);
});
