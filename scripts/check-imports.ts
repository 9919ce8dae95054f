/**
 * Fails when an import goes against the one-way order of the rooms (docs/architecture.md): a folder imports only from
 * folders below it. Tests may import from anywhere.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, normalize } from "node:path";

/** Top to bottom. Folders of one row may not import each other. */
const order: readonly (readonly string[])[] = [
	["src/cli"],
	["src/daemon"],
	["src/cri"],
	["src/services"],
	["src/stream"],
	["src/images"],
	["actors"],
	["machines"],
	["src/metadata"],
	["src/content", "src/snapshots"],
	["src/workers"],
	["src/diff"],
	["shim"],
	["src/ttrpc"],
	["src/sys"],
	["src/gen"],
	["src/oci", "src/plugin", "src/log"],
	["src/errors"],
];

/** machines/ is pure: statecharts and types, no I/O. Type-only imports of project files are allowed below it. */
const allowedInMachines = new Set(["xstate"]);

const rowOf = (file: string): number =>
	order.findIndex((row) => row.some((folder) => file === folder || file.startsWith(`${folder}/`)));
const folderOf = (file: string): string | undefined =>
	order.flat().find((folder) => file === folder || file.startsWith(`${folder}/`));

const isTest = (file: string): boolean => /\.test(-suite|-fixture)?\.ts$/.test(file);
const importPattern =
	/(?:^|\n)\s*(import|export)\s+(type\s)?[^;'"]*?from\s+["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

const problems: string[] = [];
for (const file of globSync(["src/**/*.ts", "actors/**/*.ts", "machines/**/*.ts", "shim/**/*.ts"])) {
	if (isTest(file) || file.startsWith("src/gen/")) continue;
	const from = rowOf(file);
	if (from < 0) {
		problems.push(`${file}: its folder has no place in the order (scripts/check-imports.ts)`);
		continue;
	}
	for (const match of readFileSync(file, "utf8").matchAll(importPattern)) {
		const typeOnly = match[2] !== undefined;
		const target = match[3] ?? match[4] ?? "";
		if (!target.startsWith(".")) {
			if (file.startsWith("machines/") && !typeOnly && !allowedInMachines.has(target))
				problems.push(`${file}: machines/ is pure and may not import ${target}`);
			continue;
		}
		const to = normalize(`${dirname(file)}/${target}`);
		const row = rowOf(to);
		if (row < 0) problems.push(`${file}: imports ${to}, which is outside the rooms`);
		else if (row < from || (row === from && folderOf(to) !== folderOf(file)))
			problems.push(`${file}: imports ${to}, against the one-way order`);
		else if (file.startsWith("machines/") && !to.startsWith("machines/") && !typeOnly)
			problems.push(`${file}: machines/ is pure and may import only types from ${to}`);
	}
}
if (problems.length > 0) {
	console.error(problems.join("\n"));
	process.exit(1);
}
