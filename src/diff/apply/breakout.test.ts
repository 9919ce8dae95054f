import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestEntry } from "../tar/tar-writer.test-fixture.ts";
import { extractEntries, listing, needsRoot, scratch } from "./layer.test-fixture.ts";

/**
 * Layers that try to reach what lies outside of their root. `host` is the victim's absolute path, `up` the way from the
 * layer's root to the file system's root. Each is extracted; that may succeed or be refused, but the victim stays.
 */
const attacks: Readonly<Record<string, (host: string, up: string) => readonly TestEntry[]>> = {
	"a name with ..": (host, up) => [{ name: `${up}${host}/x`, body: "gotcha" }],
	"a name with .. behind a directory": (host, up) => [{ name: `d/../${up}${host}/x`, body: "gotcha" }],
	"an absolute name": (host) => [{ name: `${host}/x`, body: "gotcha" }],
	"an absolute name with two slashes": (host) => [{ name: `//${host}/x`, body: "gotcha" }],
	"a PAX path with ..": (host, up) => [{ name: "x", pax: { path: `${up}${host}/x` }, body: "gotcha" }],
	"write through an absolute symlink": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: "l/x", body: "gotcha" },
	],
	"write through a symlink up": (host, up) => [
		{ name: "l", type: "2", link: up },
		{ name: `l${host}/x`, body: "gotcha" },
	],
	"write through a chain of symlinks": (host, up) => [
		{ name: "a", type: "2", link: "b/.." },
		{ name: "b", type: "2", link: up },
		{ name: "c", type: "2", link: `a${host}` },
		{ name: "c/x", body: "gotcha" },
	],
	"write onto a symlink to a file": (host) => [
		{ name: "l", type: "2", link: `${host}/file` },
		{ name: "l", body: "gotcha" },
	],
	"a symlink that replaces a directory in use": (host) => [
		{ name: "d/", type: "5" },
		{ name: "d/y", body: "y" },
		{ name: "d", type: "2", link: host },
		{ name: "d/x", body: "gotcha" },
	],
	"a symlink that replaces a directory on the way": (host) => [
		{ name: "d/e/", type: "5" },
		{ name: "d/e/y", body: "y" },
		{ name: "d", type: "2", link: host },
		{ name: "d/e/x", body: "gotcha" },
		{ name: "d/file", body: "gotcha" },
	],
	"hard link to a file outside, then write": (host, up) => [
		{ name: "h", type: "1", link: `${up}${host}/file` },
		{ name: "h", body: "gotcha" },
	],
	"hard link to an absolute file, other owner and mode": (host) => [
		{ name: "h", type: "1", link: `${host}/file`, mode: 0o777, uid: 666 },
	],
	"hard link through a symlink": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: "h", type: "1", link: "l/file", mode: 0o777, uid: 666 },
	],
	"hard link to a symlink, then mode and owner": (host) => [
		{ name: "l", type: "2", link: `${host}/file` },
		{ name: "h", type: "1", link: "l", mode: 0o777, uid: 666, mtime: 1 },
	],
	"hard link to a symlink, then write through it": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: "h", type: "1", link: "l" },
		{ name: "h/x", body: "gotcha" },
	],
	"whiteout through a symlink": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: "l/.wh.file" },
		{ name: "l/.wh.new" },
	],
	"whiteout of ..": () => [{ name: "d/", type: "5" }, { name: "d/.wh..." }],
	"whiteout of .": () => [{ name: "d/.wh.." }],
	"whiteout with .. in its way": (host, up) => [{ name: `${up}${host}/.wh.file` }],
	"whiteout of a symlink to a directory": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: ".wh.l" },
		{ name: "l/x", body: "gotcha" },
	],
	"opaque through a symlink": (host) => [{ name: "l", type: "2", link: host }, { name: "l/.wh..wh..opq" }],
	"mode and owner of a directory through a symlink": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: "l/", type: "5", mode: 0o777, uid: 666, mtime: 1 },
	],
	"mode of a directory that became a symlink": (host) => [
		{ name: "d/", type: "5", mode: 0o777, mtime: 1 },
		{ name: "d", type: "2", link: host },
	],
	"times of a directory below one that became a symlink": (host) => [
		{ name: "d/sub/", type: "5", mtime: 1 },
		{ name: "d", type: "2", link: host },
	],
	"attributes through a symlink": (host) => [
		{ name: "l", type: "2", link: `${host}/file`, pax: { "SCHILY.xattr.trusted.mine": "x" } },
		{ name: "k", type: "2", link: host },
		{ name: "k/file", type: "0", body: "gotcha", pax: { "SCHILY.xattr.user.mine": "x" } },
	],
	"a device through a symlink": (host) => [
		{ name: "l", type: "2", link: host },
		{ name: "l/dev", type: "3", major: 1, minor: 3 },
	],
	"a device whose name is a symlink": (host) => [
		{ name: "l", type: "2", link: `${host}/new` },
		{ name: "l", type: "3", major: 1, minor: 3, mode: 0o777 },
	],
	"a FIFO in place of a symlink": (host) => [
		{ name: "l", type: "2", link: `${host}/file` },
		{ name: "l", type: "6", mode: 0o777, uid: 666 },
	],
	"magic links of /proc": (host) => [
		{ name: "p", type: "2", link: "/proc/self/root" },
		{ name: `p${host}/x`, body: "gotcha" },
		{ name: "c", type: "2", link: "/proc/self/cwd" },
		{ name: "c/x", body: "gotcha" },
	],
	"a dangling symlink outside that is created": (host) => [
		{ name: "l", type: "2", link: `${host}/made/here` },
		{ name: "l/x", body: "gotcha" },
	],
	"removal through a symlink": (host) => [
		{ name: "d/l", type: "2", link: host },
		{ name: "d/deep/l", type: "2", link: host },
		{ name: "d", body: "now a file" },
	],
	"a directory named like what removal moves": (host) => [
		{ name: "d/.moved-1/l", type: "2", link: host },
		{ name: "d/e/.moved-1/.moved-2/l", type: "2", link: host },
		{ name: "d", body: "now a file" },
	],
	"a name with a NUL": (host) => [{ name: "x", pax: { path: `${host}/x\0y` }, body: "gotcha" }],
	"a hard link to the root": () => [{ name: "h", type: "1", link: "/" }],
	"a hard link to ..": () => [{ name: "h", type: "1", link: ".." }],
};

for (const [name, attack] of Object.entries(attacks))
	test(`a layer cannot get out: ${name}`, needsRoot, (t) => {
		const place = scratch(t);
		const host = join(place, "host");
		fs.mkdirSync(join(host, "sub"), { recursive: true });
		fs.writeFileSync(join(host, "file"), "precious", { mode: 0o600 });
		fs.writeFileSync(join(host, "sub/other"), "precious too");
		const root = join(place, "layers/1/fs");
		fs.mkdirSync(root, { recursive: true });
		// Beside the layer, too, nothing may appear.
		const around = () => listing(place).filter((line) => !/^layers\/1\/fs[ /]/.test(line));
		const before = around();
		try {
			extractEntries(attack(host, "../".repeat(30)), root);
		} catch (error) {
			assert.ok(error instanceof Error && ["DaemonError", "SysError"].includes(error.name), String(error));
		}
		assert.deepEqual(around(), before);
		assert.equal(fs.readFileSync(join(host, "file"), "utf8"), "precious");
	});
