/**
 * npm run bench [-- SECTION ...]: Troupe beside Debian's containerd, same run, same OCI runtime, interleaved.
 * Sections: life, cli, pull, memory. Prints a table; test/results/bench.json holds the same as JSON.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import Table from "cli-table3";
import type { Row } from "./row.ts";
import { benchCli, benchLife, benchMemory, benchPull } from "./sections.ts";
import { openStage } from "./stage.ts";

const sections = { life: benchLife, cli: benchCli, pull: benchPull, memory: benchMemory };
const wanted = process.argv.slice(2);
for (const name of wanted)
	if (!(name in sections)) throw new Error(`unknown section ${name}: one of ${Object.keys(sections).join(", ")}`);

const stage = await openStage(mkdtempSync(join(tmpdir(), "troupe-bench-")));
const rows: Row[] = [];
try {
	for (const [name, section] of Object.entries(sections)) {
		if (wanted.length > 0 && !wanted.includes(name)) continue;
		console.log(`measuring ${name} ...`);
		rows.push(...(await section(stage)));
	}
} catch (error) {
	console.error(error); // before the stage is closed, which may fail because of it
	process.exitCode = 1;
} finally {
	await stage.close();
}

const table = new Table({
	head: ["what", "unit", "troupe", "p99", "containerd", "p99", "bare", "p99", "ratio", "p99", "goal"],
});
/** None where noise has made the peer faster than what it adds to. */
const ratio = (ours: number, theirs: number): string => (theirs > 0 ? (ours / theirs).toFixed(2) : "–");
const shown = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(1));
for (const row of rows)
	table.push([
		row.what,
		row.unit,
		shown(row.troupe.median),
		shown(row.troupe.p99),
		shown(row.containerd.median),
		shown(row.containerd.p99),
		shown(row.bare?.median),
		shown(row.bare?.p99),
		ratio(row.troupe.median, row.containerd.median),
		ratio(row.troupe.p99, row.containerd.p99),
		row.goal === undefined ? "" : `≤ ${row.goal}`,
	]);
console.log(table.toString());
const results = resolve(import.meta.dirname, "../results");
mkdirSync(results, { recursive: true });
writeFileSync(join(results, "bench.json"), `${JSON.stringify(rows, null, "\t")}\n`);
console.log(`written: ${join(results, "bench.json")}`);
