import { type ActorNode, actorTree, stateText } from "../actor-node.ts";
import { followJson } from "../http-connection.ts";
import { age } from "../human.ts";
import { print } from "../table.ts";
import type { Target } from "../target.ts";

/** Milliseconds between two drawings at least: more nobody can read. */
const redrawMs = 200;

/** `troupe tree`: the supervision tree with states, mailboxes, restarts and errors; with `watch`, again at each change. */
export async function tree(target: Target, { watch = false }: { readonly watch?: boolean }): Promise<void> {
	let { sequence, actors } = await actorTree(target);
	print(target.output, actors, () => drawing(actors).join("\n"));
	if (!watch) return;
	for (;;) {
		await nextChange(target, sequence);
		await new Promise((resolve) => setTimeout(resolve, redrawMs));
		({ sequence, actors } = await actorTree(target));
		if (target.output === "table") process.stdout.write(process.stdout.isTTY ? "\x1b[H\x1b[J" : "\n");
		print(target.output, actors, () => drawing(actors).join("\n"));
	}
}

/** The journal has the steps of durable actors only, and ages grow: it is drawn again every second in any case. */
const restMs = 1_000;

async function nextChange(target: Target, since: number): Promise<void> {
	for await (const _ of followJson(target, `/v1/stream?since=${since}`, AbortSignal.timeout(restMs))) return;
}

/** One line for each node, with branches. */
export function drawing(nodes: readonly ActorNode[], now = Date.now()): string[] {
	const known = new Set(nodes.map(({ path }) => path));
	// names may hold a slash (`default/web` below the task manager): the parent is the nearest path that is listed
	const parentOf = (path: string): string => {
		for (let above = path; above !== "/" && above !== ""; ) {
			above = above.slice(0, above.lastIndexOf("/")) || "/";
			if (known.has(above)) return above;
		}
		return "";
	};
	const children = Map.groupBy(nodes, ({ path }) => parentOf(path));
	const lines: string[] = [];
	const draw = (parent: string, indent: string): void => {
		const siblings = children.get(parent) ?? [];
		for (const [index, node] of siblings.entries()) {
			const last = index === siblings.length - 1;
			const branch = parent === "" ? "" : last ? "└─ " : "├─ ";
			lines.push(`${indent}${branch}${nodeText(node, parent, now)}`);
			draw(node.path, parent === "" ? indent : `${indent}${last ? "   " : "│  "}`);
		}
	};
	draw("", "");
	return lines;
}

function nodeText(node: ActorNode, parent: string, now: number): string {
	const name = node.path === "/" ? "root" : node.path.slice(parent === "/" ? 1 : parent.length).replace(/^\//, "");
	const words = [name];
	if (node.node === "supervisor") words.push(`[${node.strategy}]`);
	else {
		words.push(stateText(node.state), age(now - node.since));
		const waiting = node.mailbox.system + node.mailbox.user;
		if (waiting > 0) words.push(`mailbox ${waiting}`);
		if (node.stashed > 0) words.push(`stash ${node.stashed}`);
		if (node.openRequests > 0) words.push(`open requests ${node.openRequests}`);
		for (const { name: deadline, due } of node.deadlines) words.push(`${deadline} due in ${age(due - now)}`);
	}
	if (node.status !== "running") words.push(`(${node.status})`);
	if (node.restarts > 0) words.push(`restarts ${node.restarts}`);
	if (node.lastError !== undefined) words.push(`! ${node.lastError.problem}`);
	return words.join("  ");
}
