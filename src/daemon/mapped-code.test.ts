import assert from "node:assert/strict";
import { it } from "node:test";
import { codeRanges, mappedCode } from "./mapped-code.ts";

it("a library's code is its executable mappings and nothing the loader writes to", () => {
	const maps = [
		"7f0000000000-7f0000003000 r--p 00000000 08:01 42 /lib/own.node",
		"7f0000003000-7f0000005000 r-xp 00003000 08:01 42                        /lib/own.node",
		"7f0000005000-7f0000006000 rw-p 00005000 08:01 42 /lib/own.node",
		"7f0000007000-7f0000008000 r-xp 00000000 08:01 43 /lib/other.node",
		"7f0000009000-7f000000a000 r-xp 00000000 00:00 0 [vdso]",
	].join("\n");
	assert.deepEqual(codeRanges(maps, "own.node"), [{ address: 0x7f0000003000n, length: 0x2000 }]);
});

it("finds libc in this process", async () => {
	const ranges = await mappedCode("libc.so.6");
	assert.ok(ranges.length > 0 && ranges.every(({ length }) => length > 0));
});
