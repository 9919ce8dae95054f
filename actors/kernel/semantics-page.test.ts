import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/** Lists of these sections explain and promise nothing. */
const explanations = new Set(["Writing an actor", "Deviations from OTP, and why"]);

test("each line of docs/actor-semantics.md has a test with the same words", () => {
	const page = readFileSync(join(import.meta.dirname, "../../docs/actor-semantics.md"), "utf8");
	const tests = globSync("*.test.ts", { cwd: import.meta.dirname })
		.map((file) => readFileSync(join(import.meta.dirname, file), "utf8"))
		.join("\n");
	const lines = page
		.split(/^## /m)
		.filter((section) => !explanations.has(section.slice(0, section.indexOf("\n"))))
		.flatMap((section) => section.split("\n"))
		.flatMap((line) => (line.startsWith("- ") ? [line.slice(2)] : []));
	assert.ok(lines.length > 80);
	// a strategy's name may come from a table in the test
	const named = (line: string): boolean =>
		tests.includes(line) || tests.includes(line.replace(/under \w+$/, `under $\{strategy}`));
	assert.deepEqual(
		lines.filter((line) => !named(line)),
		[],
	);
});
