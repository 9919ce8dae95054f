import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { SysError } from "../../sys/sys-error.ts";
import { type MergedLayers, readMergedFile } from "./merged-layers.ts";

const ENODATA = 61;

/** A layer: files by path; `->target` is a symlink. */
async function stack(
	t: TestContext,
	layers: readonly Readonly<Record<string, string>>[],
	opaque: readonly string[] = [],
) {
	const folder = await mkdtemp(join(tmpdir(), "troupe-layers-"));
	t.after(() => rm(folder, { recursive: true }));
	const paths: string[] = [];
	for (const [index, files] of layers.entries()) {
		const layer = join(folder, String(index));
		paths.push(layer);
		await mkdir(layer);
		for (const [path, content] of Object.entries(files)) {
			await mkdir(dirname(join(layer, path)), { recursive: true });
			if (content.startsWith("->")) await symlink(content.slice(2), join(layer, path));
			else await writeFile(join(layer, path), content);
		}
	}
	const hidden = new Set(opaque.map((path) => join(folder, path)));
	const merged: MergedLayers = {
		layers: paths,
		object: { kind: "image", id: "test" },
		kernel: {
			lgetxattr: (path, _name, value) => {
				if (!hidden.has(String(path))) throw new SysError("lgetxattr", ENODATA);
				(value as Buffer).write("y");
				return 1;
			},
		},
	};
	const read = async (path: string, limit = 1000): Promise<string | undefined> => {
		const bytes = await readMergedFile(merged, path, limit);
		return bytes === undefined ? undefined : Buffer.from(bytes).toString();
	};
	return { folder, read };
}

test("the uppermost layer that has the file wins, others fill in", async (t) => {
	const { read } = await stack(t, [{ "etc/passwd": "upper" }, { "etc/passwd": "lower", "etc/group": "g" }]);
	assert.equal(await read("/etc/passwd"), "upper");
	assert.equal(await read("/etc/group"), "g");
	assert.equal(await read("/etc/shadow"), undefined);
});

test("an opaque directory hides what lies below it", async (t) => {
	const { read } = await stack(t, [{ "etc/x": "" }, { "etc/passwd": "hidden" }], ["0/etc"]);
	assert.equal(await read("/etc/passwd"), undefined);
	assert.equal(await read("/etc/x"), "");
});

test("a file in place of a directory hides the directory below, and the other way round", async (t) => {
	const { read } = await stack(t, [
		{ etc: "a file", "var/x": "1" },
		{ "etc/passwd": "hidden", var: "file" },
	]);
	assert.equal(await read("/etc/passwd"), undefined);
	assert.equal(await read("/var/x"), "1");
	assert.equal(await read("/var"), undefined);
});

test("symlinks stay inside the layers, absolute, relative and climbing ones", async (t) => {
	const { folder, read } = await stack(t, [
		{ "etc/passwd": "->/store/passwd", "etc/group": "->../../../../../../store/group", a: "->etc" },
		{ "store/passwd": "p", "store/group": "g" },
	]);
	await writeFile(join(folder, "secret"), "outside");
	assert.equal(await read("/etc/passwd"), "p");
	assert.equal(await read("/a/group"), "g");
	assert.equal(await read("/../secret"), undefined);
});

test("a circle of symlinks ends", async (t) => {
	const { read } = await stack(t, [{ a: "->b", b: "->a" }]);
	await assert.rejects(read("/a"), /too many symlinks/);
});

test("a file that is too large is refused, not read", async (t) => {
	const { read } = await stack(t, [{ big: "0123456789" }]);
	await assert.rejects(read("/big", 9), { code: "ResourceExhausted" });
	assert.equal(await read("/big", 10), "0123456789");
});
