import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { FilePages, unwrittenFileMappings } from "./file-pages.ts";
import { nativeKernel } from "./native-kernel.ts";

it("takes read-only mappings of files, and none that the loader has written into", () => {
	const smaps = [
		"7f0000000000-7f0000003000 r--p 00000000 08:01 42 /lib/own.so",
		"Rss:                  12 kB",
		"Anonymous:             0 kB",
		"7f0000003000-7f0000005000 r-xp 00003000 08:01 42                        /lib/own.so",
		"Anonymous:             0 kB",
		"7f0000005000-7f0000006000 r--p 00005000 08:01 42 /lib/own.so",
		"Anonymous:             4 kB",
		"7f0000006000-7f0000007000 rw-p 00006000 08:01 42 /lib/own.so",
		"Anonymous:             0 kB",
		"7f0000007000-7f0000008000 r--p 00000000 00:00 0 ",
		"Anonymous:             0 kB",
		"7f0000009000-7f000000a000 r-xp 00000000 00:00 0                  [vdso]",
		"Anonymous:             0 kB",
		"7f000000b000-7f000000c000 r--s 00000000 08:01 43 /var/shared",
		"Anonymous:             0 kB",
		"",
	].join("\n");
	assert.deepEqual(unwrittenFileMappings(smaps), [
		"7f0000000000-7f0000003000 r--p 00000000 08:01 42 /lib/own.so",
		"7f0000003000-7f0000005000 r-xp 00003000 08:01 42                        /lib/own.so",
	]);
});

it("gives the pages of this program back, and it runs on", () => {
	const mapped = (): number => Number(/^RssFile:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
	const pages = new FilePages(nativeKernel);
	const before = mapped();
	pages.release();
	assert.ok(mapped() < before * 0.8, `${mapped()} of ${before} kB`);
});

it("leaves alone what was mapped in place of an unloaded library", () => {
	const advised: unknown[] = [];
	const pages = new FilePages({ madvise: (...advice) => advised.push(advice) });
	const now = readFileSync("/proc/self/maps", "latin1");
	pages.release();
	assert.ok(advised.length > 0);
	for (const [address, length, advice] of advised as [bigint, number, number][]) {
		assert.equal(advice, 4);
		const line = new RegExp(`^0*${address.toString(16)}-0*${(address + BigInt(length)).toString(16)} r-.p .* /`, "m");
		assert.match(now, line);
	}
});
