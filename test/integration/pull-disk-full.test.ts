import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmdirSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { rejectsWith } from "../../src/content/content-store.test-suite.ts";
import { imageOf, pullerOn } from "../../src/images/puller.test-fixture.ts";
import { within } from "../fixtures/deadline.ts";

const needsRoot = process.getuid?.() === 0 ? {} : { skip: "SKIPPED: needs root (mounts a small file system)" };

/** A file system of this many MiB. */
function smallDisk(t: { after(fn: () => void): void }, megabytes: number): string {
	const path = mkdtempSync(join(tmpdir(), "troupe-small-"));
	execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", path]);
	t.after(() => {
		execFileSync("umount", [path]);
		rmdirSync(path);
	});
	return path;
}

const used = (path: string): number => {
	const { blocks, bfree, bsize } = statfsSync(path);
	return (blocks - bfree) * bsize;
};

/** Resolves when fewer bytes than these are used: files of removed snapshots are deleted in the background. */
async function freed(path: string, below: number): Promise<void> {
	await within(20_000, `fewer than ${below} bytes are used`, async (signal) => {
		while (used(path) >= below) {
			signal.throwIfAborted();
			await new Promise((resolve) => setImmediate(resolve));
		}
	});
}

const overlay = { snapshotter: "overlayfs", unpack: true };

test("a disk that fills while layers arrive: ResourceExhausted, and the space comes back", needsRoot, async (t) => {
	const cleanups: (() => Promise<void>)[] = [];
	const disk = smallDisk(t, 16);
	const on = await pullerOn({ after: (fn) => cleanups.push(fn) }, { parent: disk });
	try {
		const name = on.push(imageOf(["a", "b", "c"], () => randomBytes(12 << 20)));
		const before = used(disk);
		await rejectsWith("ResourceExhausted", on.puller.pull("default", name, overlay));
		await on.nothingIsLeft();
		await on.content.sweep(); // what was whole belongs to nobody now: the collector's business
		await on.snapshots.sweep();
		await freed(disk, before + (1 << 20));
		const small = on.push(imageOf(["d"]), "lib/small");
		await on.puller.pull("default", small, overlay);
	} finally {
		for (const cleanup of cleanups) await cleanup();
	}
});

test("a disk that fills while a layer is extracted: ResourceExhausted, no snapshot stays", needsRoot, async (t) => {
	const cleanups: (() => Promise<void>)[] = [];
	const disk = smallDisk(t, 16);
	const on = await pullerOn({ after: (fn) => cleanups.push(fn) }, { parent: disk });
	try {
		// Zeros: a small blob, a large tree.
		const name = on.push(imageOf(["a"], () => Buffer.alloc(40 << 20)));
		await rejectsWith("ResourceExhausted", on.puller.pull("default", name, overlay));
		await on.nothingIsLeft();
		await freed(disk, 4 << 20);
	} finally {
		for (const cleanup of cleanups) await cleanup();
	}
});
