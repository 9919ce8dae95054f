/**
 * Runs all tests with node:test: units side by side, then what shares the host's cgroups, mounts and sockets one file
 * at a time. Ends with one summary line for everything and a list of what was skipped.
 */
import { globSync } from "node:fs";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fitCrun } from "../test/fixtures/fit-crun.ts";

interface Totals {
	passed: number;
	failed: number;
	skipped: string[];
}

const patterns = {
	unit: [
		"src/**/*.test.ts",
		"actors/**/*.test.ts",
		"machines/**/*.test.ts",
		"shim/**/*.test.ts",
		"test/unit/**/*.test.ts",
	],
	host: ["test/integration/**/*.test.ts", "test/interop/**/*.test.ts", "test/chaos/**/*.test.ts"],
};
const wanted = process.argv.slice(2);
const filesOf = (globs: string[]): string[] =>
	globSync(globs)
		.sort()
		.filter((file) => wanted.length === 0 || wanted.some((word) => file.includes(word)));

/** A file that hangs fails after this many ms instead of stopping everything. */
const fileTimeout = 600_000;

async function runFiles(files: string[], concurrency: number, totals: Totals): Promise<void> {
	if (files.length === 0) return;
	const events = run({
		files,
		concurrency,
		timeout: fileTimeout,
		execArgv: ["--disable-warning=ExperimentalWarning"],
	});
	events.on("test:pass", (event) => {
		if (event.skip !== undefined && event.skip !== false)
			totals.skipped.push(`${event.name}${typeof event.skip === "string" ? `: ${event.skip}` : ""}`);
		else if (event.details.type !== "suite") totals.passed++;
	});
	events.on("test:fail", (event) => {
		if (event.details.type !== "suite") totals.failed++;
	});
	await new Promise<void>((resolve, reject) => {
		events.compose(spec).on("error", reject).on("end", resolve).pipe(process.stdout, { end: false });
	});
}

const totals: Totals = { passed: 0, failed: 0, skipped: [] };
await runFiles(filesOf(patterns.unit), 2, totals);
const undo = fitCrun();
try {
	await runFiles(filesOf(patterns.host), 1, totals);
} finally {
	undo();
}
if (totals.skipped.length > 0) {
	console.log("\nSKIPPED (this host cannot run them):");
	for (const name of totals.skipped) console.log(`  - ${name}`);
}
console.log(`\n${totals.passed} passed, ${totals.failed} failed, ${totals.skipped.length} skipped`);
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);
