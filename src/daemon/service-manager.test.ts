import assert from "node:assert/strict";
import { test } from "node:test";
import { recordingKernel } from "../sys/recording-kernel.ts";
import { notifier } from "./service-manager.ts";

test("without a service manager nothing is said", () => {
	const kernel = recordingKernel();
	notifier(kernel, undefined)("READY=1");
	assert.deepEqual(kernel.calls, []);
});

test("the state is one datagram to the named socket, abstract or not", () => {
	for (const [path, bytes] of [
		["/run/notify", "/run/notify\0"],
		["@notify", "\0notify"],
	] as const) {
		const kernel = recordingKernel({ socket: () => 9 });
		notifier(kernel, path)("READY=1");
		assert.deepEqual(
			kernel.calls.map(({ call }) => call),
			["socket", "connect", "write", "close"],
		);
		const address = kernel.calls[1]?.args[1] as Buffer;
		assert.equal(address.readUInt16LE(), 1);
		assert.equal(address.toString("utf8", 2), bytes);
		assert.equal(String(kernel.calls[2]?.args[1]), "READY=1");
		assert.deepEqual(kernel.calls[3]?.args, [9]);
	}
});
