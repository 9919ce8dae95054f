/**
 * Draws each machine of machines/ as a Mermaid state diagram into docs/machines/. With --check it writes nothing and fails
 * when a drawing is stale.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { AnyStateMachine, AnyStateNode } from "xstate";

const folder = "docs/machines";

const nameOf = (node: AnyStateNode): string => (node.path.length === 0 ? "root" : node.path.join("_"));
const guardOf = (guard: unknown): string => {
	if (guard === undefined) return "";
	const name = typeof guard === "string" ? guard : (guard as { type?: string }).type;
	return name === undefined || name === "isDeadline" ? "" : ` [${name}]`;
};
const ordersOf = (actions: readonly unknown[]): string[] =>
	actions.map((action) => (typeof action === "string" ? action : ((action as { type?: string }).type ?? "")));

/** Transitions that change the state, with all messages between the same two states on one arrow. */
function arrows(node: AnyStateNode): string[] {
	const byTarget = new Map<string, Set<string>>();
	const transitions = [...node.transitions.entries()].flatMap(([type, all]) =>
		all.map((each) => [type, each] as const),
	);
	for (const [type, { target, guard }] of [...transitions, ...(node.always ?? []).map((each) => ["", each] as const)])
		for (const to of target ?? []) {
			const labels = byTarget.get(nameOf(to)) ?? new Set();
			byTarget.set(nameOf(to), labels.add(`${type}${guardOf(guard)}`.trim()));
		}
	return [...byTarget].map(([to, labels]) => `${nameOf(node)} --> ${to}: ${[...labels].join("<br/>")}`);
}

function draw(machine: AnyStateMachine): string {
	const lines = ["stateDiagram-v2", "direction TB"];
	const visit = (node: AnyStateNode, indent: string): void => {
		if (node.type === "compound" && node.initial.target[0] !== undefined)
			lines.push(`${indent}[*] --> ${nameOf(node.initial.target[0])}`);
		for (const inner of Object.values(node.states)) {
			if (inner.type === "compound") {
				lines.push(`${indent}state ${nameOf(inner)} {`);
				visit(inner, `${indent}\t`);
				lines.push(`${indent}}`);
			}
			if (inner.type === "final") lines.push(`${indent}${nameOf(inner)} --> [*]`);
			for (const arrow of arrows(inner)) lines.push(indent + arrow);
		}
	};
	visit(machine.root, "\t");
	return lines.join("\n");
}

/** What each state asks for when it is entered, how long it waits, and which requests it holds meanwhile. */
function table(machine: AnyStateMachine): string {
	const rows: string[] = [];
	const cell = (words: readonly string[]): string => (words.length === 0 ? "–" : words.join(", "));
	const visit = (node: AnyStateNode): void => {
		for (const inner of Object.values(node.states)) {
			const entry = ordersOf(inner.entry).filter((type) => type !== "setDeadline");
			const deadline = inner.entry
				.map((action) => (action as { type?: string; params?: unknown }).params)
				.find(
					(params): params is { name: string; ms: number } =>
						typeof params === "object" && params !== null && "ms" in params,
				);
			const limit = ordersOf(inner.entry).includes("setDeadline")
				? deadline === undefined
					? "grows"
					: `${deadline.ms / 1000} s`
				: "–";
			const takes = Object.keys(inner.config.on ?? {}).filter((type) => !type.includes(".") && type !== "restored");
			const { stash: holds = [], volatile = false } = (inner.meta ?? {}) as { stash?: string[]; volatile?: boolean };
			rows.push(
				`| ${inner.path.join(".")}${volatile ? " (volatile)" : ""} | ${cell(entry)} | ${limit} | ${cell(takes)} | ${cell(holds)} |`,
			);
			visit(inner);
		}
	};
	visit(machine.root);
	const everywhere = [...machine.root.transitions.entries()].map(([type, all]) => {
		const orders = all.flatMap(({ actions, target }) => [
			...ordersOf(actions),
			...(target ?? []).map((to) => `→ ${to.key}`),
		]);
		return `- \`${type}\`: ${orders.length === 0 ? "changes nothing" : [...new Set(orders)].join(", ")}`;
	});
	return [
		"| state | asks on entry | waits at most | takes | holds |",
		"| --- | --- | --- | --- | --- |",
		...rows,
		...(everywhere.length === 0 ? [] : ["", "Where a state says nothing else:", "", ...everywhere]),
	].join("\n");
}

const page = (name: string, machine: AnyStateMachine): string =>
	`# ${name}\n\nDrawn from [machines/${name}.machine.ts](../../machines/${name}.machine.ts) by \`npm run draw\`. Do not edit.\n\n` +
	`\`\`\`mermaid\n${draw(machine)}\n\`\`\`\n\n${table(machine)}\n`;

const wanted = new Map<string, string>();
for (const file of globSync("machines/*.machine.ts").sort()) {
	const name = basename(file, ".machine.ts");
	const exports = (await import(`../${file}`)) as Record<string, unknown>;
	const machine = Object.entries(exports).find(([key]) => key.endsWith("Machine"))?.[1];
	if (machine === undefined) throw new Error(`${file} exports no …Machine`);
	wanted.set(`${folder}/${name}.md`, page(name, machine as AnyStateMachine));
}

const read = (file: string): string | undefined => {
	try {
		return readFileSync(file, "utf8");
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
};
const orphans = globSync(`${folder}/*.md`).filter((file) => !wanted.has(file));
if (process.argv.includes("--check")) {
	const stale = [...[...wanted].filter(([file, text]) => read(file) !== text).map(([file]) => file), ...orphans];
	if (stale.length > 0) {
		console.error(`stale drawings, run "npm run draw":\n${stale.join("\n")}`);
		process.exit(1);
	}
} else {
	mkdirSync(folder, { recursive: true });
	for (const [file, text] of wanted) writeFileSync(file, text);
	for (const file of orphans) rmSync(file);
}
