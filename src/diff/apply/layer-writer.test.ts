import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { TestEntry } from "../tar/tar-writer.test-fixture.ts";
import { attribute, extractEntries, needsRoot, scratch } from "./layer.test-fixture.ts";

const whiteoutAt = (path: string): boolean => {
	const status = fs.lstatSync(path);
	return status.isCharacterDevice() && status.rdev === 0;
};
const isOpaque = (path: string): boolean => attribute(path, "trusted.overlay.opaque")?.toString() === "y";
const mode = (path: string): string => (fs.lstatSync(path).mode & 0o7777).toString(8);

test("devices have their numbers, FIFOs their mode", needsRoot, (t) => {
	const root = scratch(t);
	extractEntries(
		[
			{ name: "null", type: "3", major: 1, minor: 3, mode: 0o666 },
			{ name: "disk", type: "4", major: 300, minor: 70_000, mode: 0o660, gid: 6 },
			{ name: "pipe", type: "6", mode: 0o622, uid: 3 },
		],
		root,
	);
	const disk = fs.lstatSync(join(root, "disk"));
	assert.ok(fs.lstatSync(join(root, "null")).isCharacterDevice());
	assert.equal(fs.lstatSync(join(root, "null")).rdev, 0x103);
	assert.ok(disk.isBlockDevice() && disk.gid === 6);
	// makedev(300, 70000)
	assert.equal(disk.rdev, 300 * 256 + (70_000 & 0xff) + (70_000 - (70_000 & 0xff)) * 4096);
	assert.ok(fs.lstatSync(join(root, "pipe")).isFIFO());
	assert.equal(mode(join(root, "pipe")), "622");
});

test("in a user namespace devices are left out and counted", needsRoot, (t) => {
	const root = scratch(t);
	const { skippedDevices } = extractEntries(
		[
			{ name: "null", type: "3", major: 1, minor: 3 },
			{ name: "f", type: "6" },
		],
		root,
		{
			skipDevices: true,
		},
	);
	assert.equal(skippedDevices, 1);
	assert.deepEqual(fs.readdirSync(root), ["f"]);
});

test("set-id modes survive the change of owner, capabilities too", needsRoot, (t) => {
	const root = scratch(t);
	const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
	extractEntries(
		[
			{ name: "suid", mode: 0o4755, uid: 5, gid: 6, body: "x" },
			{ name: "cap", mode: 0o755, uid: 5, body: "x", pax: { "SCHILY.xattr.security.capability": capability } },
			{ name: "sticky/", type: "5", mode: 0o1777, uid: 5 },
			{ name: "sgid/", type: "5", mode: 0o2775, gid: 7 },
			{ name: "sgid/file", mode: 0o640, body: "y" },
			{ name: "sgid/dir/", type: "5", mode: 0o755 },
			{ name: "sgid/link", type: "2", link: "file" },
		],
		root,
	);
	assert.equal(mode(join(root, "suid")), "4755");
	assert.deepEqual(attribute(join(root, "cap"), "security.capability"), capability);
	assert.equal(mode(join(root, "sticky")), "1777");
	assert.equal(mode(join(root, "sgid")), "2775");
	for (const name of ["file", "dir", "link"]) assert.equal(fs.lstatSync(join(root, "sgid", name)).gid, 0, name);
	assert.equal(mode(join(root, "sgid/dir")), "755");
	assert.equal(mode(join(root, "sgid/file")), "640");
});

test("modes do not depend on the umask", (t) => {
	const before = process.umask(0o077);
	t.after(() => process.umask(before));
	const root = scratch(t);
	extractEntries(
		[
			{ name: "a/b", mode: 0o666 },
			{ name: "d/", type: "5", mode: 0o777 },
		],
		root,
	);
	assert.equal(mode(join(root, "a/b")), "666");
	assert.equal(mode(join(root, "d")), "777");
});

test("whiteouts and opaque directories take overlayfs's form", needsRoot, (t) => {
	const root = scratch(t);
	const { entries } = extractEntries(
		[
			{ name: "d/", type: "5" },
			{ name: "d/.wh.gone", uid: 9 },
			{ name: "new/deep/.wh..wh..opq" },
			{ name: ".wh..wh..opq" },
			{ name: ".wh..wh.plnk/1.2", body: "aufs" },
			{ name: "d/.wh..wh.aufs", body: "aufs" },
		],
		root,
	);
	assert.ok(whiteoutAt(join(root, "d/gone")));
	assert.equal(fs.lstatSync(join(root, "d/gone")).uid, 9);
	assert.ok(isOpaque(join(root, "new/deep")) && isOpaque(root) && !isOpaque(join(root, "d")));
	assert.deepEqual(fs.readdirSync(root).sort(), ["d", "new"]);
	assert.deepEqual(fs.readdirSync(join(root, "d")), ["gone"]);
	assert.equal(entries, 4);
});

test("in a user namespace opaque directories are marked by a user attribute", (t) => {
	const root = scratch(t);
	extractEntries([{ name: "d/.wh..wh..opq" }], root, { whiteouts: "overlay-userxattr" });
	assert.equal(attribute(join(root, "d"), "user.overlay.opaque")?.toString(), "y");
});

test("the first layer of an image drops its whiteouts: nothing is below", (t) => {
	const root = scratch(t);
	extractEntries(
		[{ name: "d/", type: "5" }, { name: "d/.wh.gone" }, { name: "d/.wh..wh..opq" }, { name: ".wh.x" }],
		root,
		{
			whiteouts: "dropped",
		},
	);
	assert.deepEqual(fs.readdirSync(root), ["d"]);
	assert.deepEqual(fs.readdirSync(join(root, "d")), []);
	assert.equal(attribute(join(root, "d"), "trusted.overlay.opaque"), undefined);
});

test("a whiteout never hides what the same layer brings", needsRoot, (t) => {
	const root = scratch(t);
	extractEntries(
		[
			{ name: "file", body: "new" },
			{ name: ".wh.file" },
			{ name: ".wh.later" },
			{ name: "later", body: "new" },
			{ name: "dir/x", body: "new" },
			{ name: ".wh.dir" },
			{ name: ".wh.dir2" },
			{ name: "dir2/", type: "5" },
			{ name: ".wh.dir3" },
			{ name: "dir3/implied", body: "new" },
		],
		root,
	);
	for (const path of ["file", "later", "dir/x", "dir3/implied"])
		assert.equal(fs.readFileSync(join(root, path), "utf8"), "new");
	// Of the lower layers' directories nothing may be seen.
	for (const path of ["dir", "dir2", "dir3"]) assert.ok(isOpaque(join(root, path)), path);
});

test("the last entry of a name counts, whatever was there", needsRoot, (t) => {
	const root = scratch(t);
	const summary = extractEntries(
		[
			{ name: "a", body: "first" },
			{ name: "a", body: "second", mode: 0o600 },
			{ name: "b", body: "file" },
			{ name: "b/", type: "5", mode: 0o700 },
			{ name: "b/in", body: "in" },
			{ name: "c/deep/er/f", body: "gone" },
			{ name: "c", body: "file now" },
			{ name: "d/x", body: "kept" },
			{ name: "d/", type: "5", mode: 0o711, mtime: 77 },
			{ name: "l", type: "2", link: "d" },
			{ name: "l/y", body: "through the link" },
			{ name: "l/", type: "5" },
			{ name: "l/z", body: "no link any more" },
			{ name: "h", body: "hard" },
			{ name: "h", type: "1", link: "h" },
		],
		root,
	);
	assert.equal(fs.readFileSync(join(root, "a"), "utf8"), "second");
	assert.equal(mode(join(root, "a")), "600");
	assert.equal(fs.readFileSync(join(root, "b/in"), "utf8"), "in");
	assert.ok(isOpaque(join(root, "b")));
	assert.equal(fs.readFileSync(join(root, "c"), "utf8"), "file now");
	assert.equal(fs.readFileSync(join(root, "d/x"), "utf8"), "kept");
	assert.equal(fs.readFileSync(join(root, "d/y"), "utf8"), "through the link");
	assert.equal(mode(join(root, "d")), "711");
	assert.equal(fs.lstatSync(join(root, "d")).mtimeMs, 77_000);
	assert.deepEqual(fs.readdirSync(join(root, "l")), ["z"]);
	assert.equal(fs.readFileSync(join(root, "h"), "utf8"), "hard");
	assert.equal(summary.usage, undefined, "must be counted again");
});

test("names and links resolve inside the layer as if its root were /", (t) => {
	const root = scratch(t);
	extractEntries(
		[
			{ name: "./usr/bin/", type: "5" },
			{ name: "bin", type: "2", link: "usr/bin" },
			{ name: "sbin", type: "2", link: "/usr/bin" },
			{ name: "bin/a", body: "a" },
			{ name: "/sbin/b", body: "b" },
			{ name: "x/../usr/bin/c", body: "c" },
			{ name: "../../usr/bin/d", body: "d" },
			{ name: "dangling", type: "2", link: "made/../later/dir" },
			{ name: "dangling/e", body: "e" },
			{ name: "usr/bin/f", type: "1", link: "/bin/a" },
			{ name: "./", type: "5", mode: 0o700 },
		],
		root,
	);
	assert.deepEqual(fs.readdirSync(join(root, "usr/bin")).sort(), ["a", "b", "c", "d", "f"]);
	assert.equal(fs.readFileSync(join(root, "later/dir/e"), "utf8"), "e");
	assert.equal(fs.lstatSync(join(root, "usr/bin/a")).nlink, 2);
	assert.equal(mode(root), "700", "of the scratch directory: the root's entry changes nothing");
	fs.chmodSync(root, 0o755);
	extractEntries([{ name: "./", type: "5", mode: 0o700 }], root);
	assert.equal(mode(root), "755");
});

test("times have nanoseconds, those of directories too", (t) => {
	const root = scratch(t);
	const pax = { mtime: "1600000000.123456789" };
	extractEntries(
		[
			{ name: "d/", type: "5", pax },
			{ name: "d/f", body: "x", pax: { ...pax, atime: "1700000000.000000001" } },
			{ name: "d/l", type: "2", link: "f", pax },
			{ name: "d/h", type: "1", link: "d/f", pax },
			{ name: "old", pax: { mtime: "-1.5" } },
		],
		root,
	);
	for (const name of ["d", "d/f", "d/l", "d/h"])
		assert.equal(fs.lstatSync(join(root, name), { bigint: true }).mtimeNs, 1_600_000_000_123_456_789n, name);
	assert.equal(fs.lstatSync(join(root, "d/h"), { bigint: true }).atimeNs, 1_600_000_000_123_456_789n);
	assert.equal(fs.lstatSync(join(root, "old")).mtimeMs, 0);
});

test("directories that no entry describes are named", (t) => {
	const root = scratch(t);
	const { impliedDirectories } = extractEntries(
		[
			{ name: "tmp/x/y", body: "1" },
			{ name: "tmp/", type: "5", mode: 0o1777 },
			{ name: "var/z", body: "2" },
		],
		root,
	);
	assert.deepEqual(impliedDirectories.map(String).sort(), ["tmp/x", "var"]);
});

test("attributes that steer overlayfs are not taken from an archive", needsRoot, (t) => {
	const root = scratch(t);
	const pax = {
		"SCHILY.xattr.trusted.overlay.redirect": "/etc",
		"SCHILY.xattr.user.overlay.opaque": "y",
		"SCHILY.xattr.user.mine": "1",
	};
	const { skippedAttributes } = extractEntries([{ name: "d/", type: "5", pax }], root);
	assert.equal(attribute(join(root, "d"), "trusted.overlay.redirect"), undefined);
	assert.equal(attribute(join(root, "d"), "user.overlay.opaque"), undefined);
	assert.equal(attribute(join(root, "d"), "user.mine")?.toString(), "1");
	assert.equal(skippedAttributes, 2);
});

test("what cannot be made is refused with the entry's name", (t) => {
	const root = scratch(t);
	const refused = (entries: readonly TestEntry[], problem: RegExp): void => {
		assert.throws(
			() => extractEntries(entries, join(root, `${Math.random()}`)),
			(error) =>
				error instanceof Error &&
				problem.test(error.message) &&
				(!(error instanceof DaemonError) || error.code === "InvalidArgument"),
		);
	};
	refused([{ name: "a", type: "1", link: "missing" }], /hard link "a" to "missing": not found/);
	refused(
		[
			{ name: "d/", type: "5" },
			{ name: "a", type: "1", link: "d" },
		],
		/to the directory/,
	);
	refused([{ name: "f", body: "x" }, { name: "f/below" }], /"f" is not a directory/);
	refused(
		[{ name: "a", type: "2", link: "b" }, { name: "b", type: "2", link: "a" }, { name: "a/x" }],
		/ELOOP|symlinks/,
	);
	refused([{ name: ".wh." }], /whiteout without a name/);
	refused([{ name: "d/.wh..." }], /whiteout without a name/);
	refused([{ name: "x", pax: { path: "y/".repeat(3000) } }], /longer than a path/);
});

test("deep trees are extracted and replaced with few descriptors", (t) => {
	const root = scratch(t);
	const deep = Array.from({ length: 1300 }, () => "d").join("/");
	const levels = Array.from({ length: 1300 }, (_, depth) => "d/".repeat(depth + 1));
	extractEntries(
		[
			{ name: "f", body: "x", pax: { path: `top/${deep}/f` } },
			{ name: "l", type: "2", pax: { linkpath: `top/${deep}` } },
			...levels.map((path) => ({ name: "d", type: "5", pax: { path: `l/${path}` } })),
			{ name: "f2", pax: { path: `l/${deep}/f` }, body: "deeper than a path is long" },
			{ name: "top", body: "flat" },
		],
		root,
	);
	assert.equal(fs.readFileSync(join(root, "top"), "utf8"), "flat");
});
