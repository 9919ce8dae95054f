import assert from "node:assert/strict";
import { test } from "node:test";
import type { Progress } from "../../gen/containerd/types/transfer/progress.ts";
import { barLine, progressView } from "./progress-view.ts";

const progress = (name: string, event: string, done = 0n, total = 0n): Progress => ({
	name,
	event,
	parents: [],
	progress: done,
	total,
	desc: undefined,
});
const layer = "layer-sha256:0123456789abcdef0123456789abcdef";

test("piped output has one line for each step of a blob", () => {
	const written: string[] = [];
	const view = progressView({ write: (text: string | Uint8Array) => written.push(String(text)) > 0 }, false);
	for (const done of [0n, 10n, 500n, 2_000_000n]) view.update(progress(layer, "downloading", done, 2_000_000n));
	view.update(progress(layer, "complete", 2_000_000n, 2_000_000n));
	view.finish();
	assert.deepEqual(written, ["layer-0123456789ab downloading 2.00 MB\n", "layer-0123456789ab complete 2.00 MB\n"]);
});

test("a terminal gets a bar for each blob, drawn over the last", () => {
	const written: string[] = [];
	const terminal = { isTTY: true, columns: 100, write: (text: string | Uint8Array) => written.push(String(text)) > 0 };
	const view = progressView(terminal, false);
	view.update(progress(layer, "downloading", 500_000n, 1_000_000n));
	view.update(progress("manifest", "complete"));
	view.finish();
	const text = written.join("");
	assert.match(text, /layer-0123456789ab {8} downloading {2}\[█{20}░{20}\] 500 kB \/ 1\.00 MB/);
	assert.match(text, /1\.00 MB in \d+\.\d s\n$/);
});

test("no line is wider than the terminal", () => {
	for (const width of [20, 40, 60, 80, 200])
		for (const row of [progress(layer, "downloading", 5n, 10n), progress(layer.repeat(3), "x")])
			assert.ok(barLine(row, width).length < width, `${width}`);
});

test("quiet says nothing", () => {
	const view = progressView({ write: () => assert.fail("written") }, true);
	view.update(progress("a", "b"));
	view.finish();
});
