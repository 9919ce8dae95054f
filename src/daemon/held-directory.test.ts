import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { nativeKernel } from "../sys/native-kernel.ts";
import { holdDirectory } from "./held-directory.ts";

test("a directory is made and held once; when it is given up another may hold it", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-held-"));
	t.after(() => rm(folder, { recursive: true }));
	const path = join(folder, "a", "root");
	const first = await holdDirectory(path, 0o711, nativeKernel);
	assert.equal((await stat(path)).mode & 0o777, 0o711);
	await assert.rejects(holdDirectory(path, 0o711, nativeKernel), {
		code: "FailedPrecondition",
		problem: `another daemon (pid ${process.pid}) works here`,
	});
	await first[Symbol.asyncDispose]();
	await (await holdDirectory(path, 0o711, nativeKernel))[Symbol.asyncDispose]();
});

test("a directory that cannot be made says which and why", async () => {
	await assert.rejects(holdDirectory("/dev/null/x", 0o711, nativeKernel), /directory "\/dev\/null\/x": .*ENOTDIR/);
});
