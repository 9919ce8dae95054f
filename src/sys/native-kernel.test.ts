import assert from "node:assert/strict";
import { closeSync, openSync } from "node:fs";
import { test } from "node:test";
import { nativeKernel as kernel } from "./native-kernel.ts";
import { recordingKernel } from "./recording-kernel.ts";
import { failedWith, SysError } from "./sys-error.ts";

const eventfdFlags = 0o2004000; // EFD_CLOEXEC | EFD_NONBLOCK
const one = Buffer.alloc(8);
one.writeBigUInt64LE(1n);

test("a refused call throws with errno, its name, the call and the path", () => {
	assert.throws(
		() => kernel.open("/nonexistent", 0, 0),
		(error: unknown) =>
			error instanceof SysError &&
			error.errno === 2 &&
			error.code === "ENOENT" &&
			error.call === "open" &&
			error.message === 'open "/nonexistent": ENOENT',
	);
});

test("errno is the refused call's own, call after call", () => {
	for (let i = 0; i < 2000; i++)
		assert.throws(
			() => kernel.open(i % 2 ? "/nonexistent" : "/etc/passwd/x", 0, 0),
			(error: unknown) => failedWith(error, i % 2 ? "ENOENT" : "ENOTDIR"),
		);
});

test("system calls without a libc function go through syscall", () => {
	const pidfd = kernel.pidfd_open(process.pid, 0);
	kernel.pidfd_send_signal(pidfd, 0, null, 0);
	kernel.close(pidfd);
	assert.throws(
		() => kernel.pidfd_open(0x3fffffff, 0),
		(error: unknown) => failedWith(error, "ESRCH", "EINVAL"),
	);
	const how = Buffer.alloc(24);
	const root = kernel.openat2(-100, "/", how, 24);
	kernel.close(root);
});

test("poll wakes for a readable descriptor, and stops when closed", async () => {
	const fd = kernel.eventfd(0, eventfdFlags);
	await new Promise<void>((resolve) => {
		const poll = kernel.poll(fd, () => {
			poll.close();
			resolve();
		});
		kernel.write(fd, one, 8);
	});
	let calls = 0;
	const poll = kernel.poll(fd, () => calls++);
	poll.close();
	poll.close();
	await new Promise((resolve) => setTimeout(resolve, 5));
	assert.equal(calls, 0);
	kernel.close(fd);
});

test("what cannot be polled is an error, not an abort", () => {
	const file = openSync(import.meta.filename, "r");
	assert.throws(
		() => kernel.poll(file, () => {}),
		(error: unknown) => failedWith(error, "EPERM"),
	);
	closeSync(file);
});

test("the double records calls and polls", () => {
	const double = recordingKernel({ eventfd: () => 7 });
	assert.equal(double.eventfd(0, 0), 7);
	let woken = 0;
	const poll = double.poll(7, () => woken++);
	double.polls[0]?.ready();
	poll.close();
	double.polls[0]?.ready();
	assert.equal(woken, 1);
	assert.deepEqual(double.calls, [{ call: "eventfd", args: [0, 0] }]);
});
