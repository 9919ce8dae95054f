import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { applyOomScore } from "./oom-score.ts";

test("the score is written, 0 leaves what is there, and a failure names score and file", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-oom-"));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, "oom_score_adj");
	await writeFile(file, "17");
	await applyOomScore(0, file);
	assert.equal(await readFile(file, "utf8"), "17");
	await applyOomScore(-999, file);
	assert.equal(await readFile(file, "utf8"), "-999");
	await assert.rejects(applyOomScore(5, folder), { message: /oom_score "5": cannot be written to .*EISDIR/ });
});

test("what the kernel does not permit is told with the remedy", async () => {
	// A file that the kernel lets nobody write, not even root.
	await assert.rejects(applyOomScore(-1, "/proc/sys/kernel/ostype"), {
		code: "PermissionDenied",
		message: /oom_score "-1": to lower it takes CAP_SYS_RESOURCE/,
	});
});
