import assert from "node:assert/strict";
import { lstat, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { listenUnix, type SocketOwner } from "./unix-listener.ts";

const isRoot = process.getuid?.() === 0;

async function listening(t: TestContext, owner?: SocketOwner) {
	const folder = await mkdtemp(join(tmpdir(), "troupe-socket-"));
	const path = join(folder, "t.sock");
	t.after(() => rm(folder, { recursive: true }));
	const listener = await listenUnix(path, (socket) => socket.destroy(), owner);
	t.after(() => listener.close());
	const { uid, gid, mode } = await lstat(path);
	return { uid, gid, mode: mode & 0o777 };
}

test("a socket is its daemon's alone", async (t) => {
	const { uid, mode } = await listening(t);
	assert.deepEqual({ uid, mode }, { uid: process.getuid?.(), mode: 0o600 });
});

test("a user may be given the socket, a group may use it", { skip: !isRoot && "needs root" }, async (t) => {
	assert.deepEqual(await listening(t, { uid: 1234, gid: 0 }), { uid: 1234, gid: 0, mode: 0o600 });
	assert.deepEqual(await listening(t, { uid: 0, gid: 2345 }), { uid: 0, gid: 2345, mode: 0o660 });
});

test("an owner that cannot be given the socket is an error, and nothing listens", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-socket-"));
	t.after(() => rm(folder, { recursive: true }));
	const path = join(folder, "t.sock");
	await assert.rejects(
		listenUnix(path, (socket) => socket.destroy(), { uid: -7, gid: 0 }),
		/cannot be given to uid -7, gid 0/,
	);
	await assert.rejects(lstat(path), { code: "ENOENT" });
});
