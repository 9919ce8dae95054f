import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import {
	MNT_DETACH,
	type Mount,
	MS_BIND,
	MS_NODEV,
	MS_NOSUID,
	MS_PRIVATE,
	MS_RDONLY,
	MS_REC,
	MS_REMOUNT,
	mountAll,
	parseMountOptions,
	UMOUNT_NOFOLLOW,
	unmountAll,
} from "./mounts.ts";
import { nativeKernel } from "./native-kernel.ts";
import { recordingKernel } from "./recording-kernel.ts";
import { SysError } from "./sys-error.ts";

const needsRoot = process.getuid?.() === 0 ? {} : { skip: "SKIPPED: needs root (mounts)" };
const ENOENT = 2;
const EINVAL = 22;
const EBUSY = 16;

const bind = (source: string, ...options: readonly string[]): Mount => ({
	type: "bind",
	source,
	target: "",
	options: ["rbind", ...options],
});

/** A recorded call with its C strings as strings. */
const readable = ({ call, args }: { readonly call: string; readonly args: readonly unknown[] }): readonly unknown[] => [
	call,
	...args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg).toString("utf8", 0, arg.indexOf(0)) : arg)),
];

test("options are flags, propagation, or the file system's data", () => {
	assert.deepEqual(parseMountOptions(["ro", "nosuid", "rw", "nodev", "rprivate", "size=1m", "", "mode=755"]), {
		flags: MS_NOSUID | MS_NODEV,
		propagation: MS_PRIVATE | MS_REC,
		data: ["size=1m", "mode=755"],
	});
	for (const option of ["loop", "uidmap=0:1:1", "X-containerd.mkdir.path=x"])
		assert.throws(
			() => parseMountOptions([option]),
			(error) => error instanceof DaemonError && error.code === "Unimplemented",
		);
});

test("a read-only bind mount takes a second call, propagation a third", () => {
	const kernel = recordingKernel();
	mountAll(kernel, [bind("/src", "ro", "rslave")], "/dst");
	assert.deepEqual(kernel.calls.map(readable), [
		["mount", "/src", "/dst", "bind", MS_BIND | MS_REC | MS_RDONLY, null],
		["mount", "none", "/dst", "none", MS_BIND | MS_RDONLY | MS_REMOUNT, null],
		["mount", "none", "/dst", "none", 0x80000 | MS_REC, null],
	]);
});

test("a target below the target stays below it", () => {
	const kernel = recordingKernel();
	mountAll(kernel, [{ ...bind("/src"), target: "/a//./b" }], "/dst");
	assert.deepEqual(
		kernel.calls.filter(({ call }) => call === "mount").map((call) => readable(call)[2]),
		["/dst/a/b"],
	);
	assert.throws(() => mountAll(kernel, [{ ...bind("/src"), target: "../x" }], "/dst"), DaemonError);
});

test("if a later mount fails, the earlier ones are detached, the last first", () => {
	let count = 0;
	const kernel = recordingKernel({
		mount: () => {
			if (++count === 3) throw new SysError("mount", ENOENT);
			return 0;
		},
	});
	const mounts = [bind("/a"), { ...bind("/b"), target: "sub" }, bind("/c")];
	assert.throws(() => mountAll(kernel, mounts, "/dst"), SysError);
	assert.deepEqual(kernel.calls.slice(-2).map(readable), [
		["umount2", "/dst/sub", MNT_DETACH | UMOUNT_NOFOLLOW],
		["umount2", "/dst", MNT_DETACH | UMOUNT_NOFOLLOW],
	]);
});

test("many layers are named from the directory they share; what is still too long is refused", () => {
	const kernel = recordingKernel();
	const layers = (count: number) => Array.from({ length: count }, (_, n) => `/very/long/${"x".repeat(60)}/${n}/fs`);
	const overlay = (count: number): Mount => ({
		type: "overlay",
		source: "overlay",
		target: "",
		options: ["index=off", `lowerdir=${layers(count).join(":")}`],
	});
	mountAll(kernel, [overlay(100)], "/dst");
	const [to, mount, back] = kernel.calls.map(readable);
	assert.deepEqual(to, ["chdir", `/very/long/${"x".repeat(60)}`]);
	assert.match(String(mount?.[5]), /^index=off,lowerdir=0\/fs:1\/fs:.*:99\/fs$/);
	assert.deepEqual(back, ["chdir", process.cwd()]);
	assert.throws(() => mountAll(kernel, [overlay(1000)], "/dst"), /longer than a page/);
});

test("everything on a target is detached; nothing there is no error; other errors are", () => {
	let mounted = 3;
	const kernel = recordingKernel({
		umount2: () => {
			if (mounted-- === 0) throw new SysError("umount2", EINVAL);
			return 0;
		},
	});
	unmountAll(kernel, "/dst");
	assert.equal(kernel.calls.length, 4);
	const busy = recordingKernel({
		umount2: () => {
			throw new SysError("umount2", EBUSY);
		},
	});
	assert.throws(() => unmountAll(busy, "/dst", 0), /EBUSY/);
});

function directories(t: TestContext): { readonly source: string; readonly target: string } {
	const root = fs.mkdtempSync(join(tmpdir(), "troupe-mounts-"));
	const [source, target] = [join(root, "source"), join(root, "target")];
	fs.mkdirSync(source);
	fs.mkdirSync(target);
	t.after(() => {
		unmountAll(nativeKernel, target);
		assert.ok(!fs.readFileSync("/proc/self/mountinfo", "utf8").includes(root));
		fs.rmSync(root, { recursive: true });
	});
	return { source, target };
}

test("a read-only bind mount is read-only", needsRoot, (t) => {
	const { source, target } = directories(t);
	fs.writeFileSync(join(source, "file"), "x");
	mountAll(nativeKernel, [bind(source, "ro")], target);
	assert.equal(fs.readFileSync(join(target, "file"), "utf8"), "x");
	assert.throws(() => fs.writeFileSync(join(target, "file"), "y"), { code: "EROFS" });
	mountAll(nativeKernel, [bind(source)], target);
	unmountAll(nativeKernel, target);
	assert.deepEqual(fs.readdirSync(target), []);
	unmountAll(nativeKernel, target);
});

test("a symlink in a mounted tree does not lead the next mount away", needsRoot, (t) => {
	const { source, target } = directories(t);
	fs.mkdirSync(join(source, "real"));
	fs.symlinkSync(join(source, "real"), join(source, "link"));
	const tmpfs = (place: string): Mount => ({ type: "tmpfs", source: "tmpfs", target: place, options: [] });
	assert.throws(() => mountAll(nativeKernel, [bind(source), tmpfs("link")], target), { code: "ELOOP" });
	assert.deepEqual(fs.readdirSync(target), []);
	mountAll(nativeKernel, [bind(source), tmpfs("real")], target);
	fs.writeFileSync(join(target, "real/x"), "");
	unmountAll(nativeKernel, join(target, "real"));
	assert.deepEqual(fs.readdirSync(join(target, "real")), []);
});

test("a file system's own options reach it", needsRoot, (t) => {
	const { target } = directories(t);
	const tmpfs = { type: "tmpfs", source: "tmpfs", target: "", options: ["nosuid", "size=64k", "mode=0700"] };
	mountAll(nativeKernel, [tmpfs], target);
	assert.equal((fs.statSync(target).mode & 0o777).toString(8), "700");
	assert.throws(() => fs.writeFileSync(join(target, "big"), Buffer.alloc(1 << 20)), { code: "ENOSPC" });
	assert.match(fs.readFileSync("/proc/self/mountinfo", "utf8"), new RegExp(`${target} rw,nosuid`));
});
