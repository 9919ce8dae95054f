import { DaemonError } from "../errors/daemon-error.ts";
import type { Needs, Plugin } from "./plugin.ts";

/** URIs, groups as their type, in the order they were written. */
export const namesOf = (needs: Needs): string[] =>
	Object.values(needs).map((need) => ("group" in need ? need.group : need.uri));

/**
 * The order in which plugins start: each after what it needs, otherwise as listed. InvalidArgument lists everything that
 * is wrong at once: needed keys that no plugin has, keys that two have, cycles.
 */
export function startOrder(plugins: readonly Plugin[]): readonly Plugin[] {
	const problems: string[] = [];
	const byUri = new Map<string, Plugin>();
	for (const plugin of plugins) {
		if (byUri.has(plugin.key.uri)) problems.push(`two plugins have the key ${plugin.key.uri}`);
		byUri.set(plugin.key.uri, plugin);
	}
	for (const { key, needs } of plugins)
		for (const need of Object.values(needs))
			if (!("group" in need) && !byUri.has(need.uri))
				problems.push(`${key.uri} needs ${need.uri}, which no plugin provides`);

	const order: Plugin[] = [];
	const done = new Set<Plugin>();
	const path: Plugin[] = [];
	const visit = (plugin: Plugin): void => {
		if (done.has(plugin)) return;
		const start = path.indexOf(plugin);
		if (start >= 0) {
			const cycle = [...path.slice(start), plugin].map(({ key }) => key.uri);
			problems.push(`cycle: ${cycle.join(" needs ")}`);
			return;
		}
		path.push(plugin);
		for (const before of requirements(plugin, plugins, byUri)) visit(before);
		path.pop();
		done.add(plugin);
		order.push(plugin);
	};
	for (const plugin of plugins) visit(plugin);
	if (problems.length > 0)
		throw new DaemonError("InvalidArgument", { kind: "plugin graph", id: "trouped" }, problems.join("; "));
	return order;
}

function requirements({ needs, optional }: Plugin, plugins: readonly Plugin[], byUri: ReadonlyMap<string, Plugin>) {
	return [...Object.values(needs), ...Object.values(optional)].flatMap((need) => {
		if ("group" in need) return plugins.filter(({ key }) => key.type === need.group);
		return byUri.get(need.uri) ?? [];
	});
}
