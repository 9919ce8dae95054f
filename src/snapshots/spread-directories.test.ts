import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { nativeKernel } from "../sys/native-kernel.ts";
import { recordingKernel } from "../sys/recording-kernel.ts";
import { SysError } from "../sys/sys-error.ts";
import { spreadDirectories } from "./spread-directories.ts";

const EIO = 5;
const ENOTTY = 25;

function scratch(t: TestContext): string {
	const path = fs.mkdtempSync(join(tmpdir(), "troupe-spread-"));
	t.after(() => fs.rmSync(path, { recursive: true }));
	return path;
}

const failing = (errno: number) =>
	recordingKernel({
		ioctl: () => {
			throw new SysError("ioctl", errno);
		},
	});

test("on ext4 the directory gets the attribute T, those made in it do not", async (t) => {
	const path = scratch(t);
	// EXT4_SUPER_MAGIC
	if (fs.statfsSync(path).type !== 0xef53) return t.skip(`SKIPPED: ${path} is not on ext4`);
	await spreadDirectories(nativeKernel, path);
	await spreadDirectories(nativeKernel, path);
	fs.mkdirSync(join(path, "inner"));
	const attributes = (directory: string): string => execFileSync("lsattr", ["-d", directory], { encoding: "utf8" });
	assert.match(attributes(path), /^\S*T\S* /);
	assert.doesNotMatch(attributes(join(path, "inner")), /^\S*T\S* /);
});

test("a file system without the attribute is left as it is; other errors are told", async (t) => {
	const path = scratch(t);
	await spreadDirectories(failing(ENOTTY), path);
	await assert.rejects(spreadDirectories(failing(EIO), path), /EIO/);
});
