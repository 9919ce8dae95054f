import assert from "node:assert/strict";
import { test } from "node:test";
import { BootstrapResult } from "../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { parseBootstrapAnswer } from "./bootstrap-answer.ts";

const parse = (answer: string | Uint8Array) => parseBootstrapAnswer(Buffer.from(answer), "shim");
const address = "unix:///run/containerd/s/abc";

test("a bare address is ttrpc and version 2, white space is cut off", () => {
	assert.deepEqual(parse(`${address}\n`), { version: 2, address });
});

test("JSON says version and protocol", () => {
	assert.deepEqual(parse(JSON.stringify({ version: 3, address, protocol: "ttrpc" })), { version: 3, address });
	assert.deepEqual(parse(JSON.stringify({ address })), { version: 2, address });
});

test("a protobuf BootstrapResult is read", () => {
	const result = BootstrapResult.fromPartial({ version: 3, address, protocol: "ttrpc" });
	assert.deepEqual(parse(BootstrapResult.encode(result).finish()), { version: 3, address });
});

for (const [what, answer] of [
	["an empty answer", " \n"],
	["an empty JSON object", "{}"],
	["broken JSON", "{"],
	["a gRPC shim", JSON.stringify({ version: 3, address, protocol: "grpc" })],
	["a version of the future", JSON.stringify({ version: 4, address })],
	["a complaint instead of an address", "level=warning msg=oops"],
] as const)
	test(`${what} is refused with FailedPrecondition`, () =>
		assert.throws(() => parse(answer), { code: "FailedPrecondition" }));
