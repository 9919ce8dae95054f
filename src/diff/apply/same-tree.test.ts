import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { cBytes, S_IFBLK, S_IFCHR, S_IFIFO } from "../file-bytes.ts";
import { type TestEntry, tarOf } from "../tar/tar-writer.test-fixture.ts";
import { extract, listing, needsRoot, scratch } from "./layer.test-fixture.ts";

/** One thing of a random tree. Its place is below one of the directories made before it. */
interface Leaf {
	readonly kind: "file" | "directory" | "symlink" | "hardlink" | "fifo" | "character" | "block";
	readonly parent: number;
	readonly name: string;
	readonly mode: number;
	readonly uid: number;
	readonly gid: number;
	readonly seconds: number;
	readonly nanoseconds: number;
	readonly body: Uint8Array;
	readonly link: string;
	readonly attribute: Uint8Array | undefined;
}

interface Node extends Leaf {
	readonly path: string;
	/** Path of the file that a hard link shares. */
	readonly target: string;
}

const name = fc.oneof(
	{ weight: 4, arbitrary: fc.stringMatching(/^[a-zA-Z0-9_-]{1,12}$/) },
	{ weight: 1, arbitrary: fc.stringMatching(/^[a-z]{90,200}$/) },
	{ weight: 1, arbitrary: fc.constantFrom("ä ö", "line\nbreak", "日本", "a=b", "-dash", "...", "sp ace", "star*") },
);
const leaf: fc.Arbitrary<Leaf> = fc.record({
	kind: fc.constantFrom(
		"file",
		"file",
		"file",
		"directory",
		"directory",
		"symlink",
		"hardlink",
		"fifo",
		"character",
		"block",
	),
	parent: fc.nat(1000),
	name,
	mode: fc.oneof(fc.constantFrom(0o644, 0o755, 0o4755, 0o2755, 0o1777, 0o600, 0), fc.nat(0o7777)),
	uid: fc.constantFrom(0, 0, 1, 1000, 70_000, 3_000_000_000),
	gid: fc.constantFrom(0, 0, 5, 1000, 2_500_000),
	seconds: fc.integer({ min: 1, max: 4_000_000_000 }),
	nanoseconds: fc.integer({ min: 0, max: 999_999_999 }),
	body: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ minLength: 500, maxLength: 3000 })),
	link: fc.oneof(fc.constantFrom("..", "/etc/passwd", "no/where"), fc.stringMatching(/^[a-z/]{1,150}$/)),
	attribute: fc.option(fc.uint8Array({ minLength: 1, maxLength: 30 }), { nil: undefined }),
});

/** Gives leaves their places; a name that is taken is left out. */
function tree(leaves: readonly Leaf[]): Node[] {
	const directories = [""];
	const files: Node[] = [];
	const taken = new Set<string>();
	const nodes: Node[] = [];
	for (const item of leaves) {
		const parent = directories[item.parent % directories.length] ?? "";
		const path = parent === "" ? item.name : `${parent}/${item.name}`;
		if (taken.has(path) || path.length > 1500) continue;
		const shared = files[item.parent % Math.max(1, files.length)];
		if (item.kind === "hardlink" && shared === undefined) continue;
		taken.add(path);
		// A hard link has all but its name from its file.
		const node: Node =
			item.kind === "hardlink" && shared !== undefined
				? { ...shared, kind: "hardlink", path, target: shared.path }
				: { ...item, path, target: "" };
		if (node.kind === "directory") directories.push(path);
		if (node.kind === "file") files.push(node);
		nodes.push(node);
	}
	return nodes;
}

const times = ({ seconds, nanoseconds }: Leaf): Buffer => {
	const spec = Buffer.alloc(32);
	for (const offset of [0, 16]) {
		spec.writeBigInt64LE(BigInt(seconds), offset);
		spec.writeBigInt64LE(BigInt(nanoseconds), offset + 8);
	}
	return spec;
};

/** Makes the tree with ordinary calls: what an extraction must look like. */
function make(nodes: readonly Node[], root: string): void {
	for (const node of nodes) {
		const path = join(root, node.path);
		if (node.kind === "file") fs.writeFileSync(path, node.body);
		else if (node.kind === "directory") fs.mkdirSync(path);
		else if (node.kind === "symlink") fs.symlinkSync(node.link, path);
		else if (node.kind === "hardlink") fs.linkSync(join(root, node.target), path);
		else {
			const type = node.kind === "fifo" ? S_IFIFO : node.kind === "character" ? S_IFCHR : S_IFBLK;
			nativeKernel.mknod(path, type | 0o600, node.kind === "fifo" ? 0 : 0x105);
		}
		fs.lchownSync(path, node.uid, node.gid);
		if (node.attribute !== undefined && node.kind !== "hardlink")
			nativeKernel.lsetxattr(path, "trusted.test", node.attribute, node.attribute.length, 0);
		if (node.kind !== "symlink") fs.chmodSync(path, node.mode);
	}
	for (const node of [...nodes].reverse())
		nativeKernel.utimensat(-100, cBytes(Buffer.from(join(root, node.path)).toString("latin1")), times(node), 0x100);
}

const flags = {
	file: "0",
	hardlink: "1",
	symlink: "2",
	character: "3",
	block: "4",
	directory: "5",
	fifo: "6",
} as const;

const entryOf = (node: Node): TestEntry => ({
	name: "x",
	type: flags[node.kind],
	mode: node.mode,
	major: 1,
	minor: 5,
	body: node.kind === "file" ? node.body : "",
	pax: {
		path: node.kind === "directory" ? `./${node.path}/` : `./${node.path}`,
		uid: String(node.uid),
		gid: String(node.gid),
		mtime: `${node.seconds}.${String(node.nanoseconds).padStart(9, "0")}`,
		...(node.kind === "symlink" ? { linkpath: node.link } : {}),
		...(node.kind === "hardlink" ? { linkpath: node.target } : {}),
		...(node.attribute === undefined ? {} : { "SCHILY.xattr.trusted.test": node.attribute }),
	},
});

test("a random tree comes back the same: from our writer, and from GNU tar's two formats", needsRoot, (t) => {
	const place = scratch(t);
	let run = 0;
	fc.assert(
		fc.property(fc.array(leaf, { maxLength: 40 }), (leaves) => {
			const here = join(place, String(run++));
			const [made, own] = ["made", "own"].map((part) => join(here, part)) as [string, string];
			fs.mkdirSync(made, { recursive: true });
			const nodes = tree(leaves);
			make(nodes, made);
			const expected = listing(made);
			extract(tarOf(nodes.map(entryOf)), own);
			assert.deepEqual(listing(own), expected);

			const formats: readonly (readonly [name: string, options: readonly string[], exact: boolean])[] = [
				["pax", ["--format=pax", "--xattrs", "--xattrs-include=*"], true],
				["gnu", ["--format=gnu"], false],
			];
			for (const [format, options, exact] of formats) {
				const archive = execFileSync("tar", [...options, "-C", made, "-cf", "-", "."], { maxBuffer: 64 << 20 });
				const root = join(here, format);
				extract(archive, root, { umaskIsZero: false });
				const plain = (lines: readonly string[]) => (exact ? lines : lines.map(withoutPrecision));
				assert.deepEqual(plain(listing(root)), plain(expected), format);
			}
			fs.rmSync(here, { recursive: true });
		}),
		{ numRuns: 25, interruptAfterTimeLimit: 20_000 },
	);
});

/** GNU's format has whole seconds and no attributes. */
const withoutPrecision = (line: string): string =>
	line.replace(/ \| trusted\.test=[0-9a-f]*/, "").replace(/((?: \| \d+){4} \| \d+)\d{9} \| /, "$1 | ");
