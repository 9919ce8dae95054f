import { entryOf, type Labels } from "../labels.ts";
import { snapshotName } from "../tables.ts";
import type { GcNode } from "./node.ts";

/** A reference that holds only while a snapshot was used recently, or long ago. */
export interface Condition {
	readonly snapshot: GcNode;
	/** Whether the time of last use, in milliseconds since 1970, fulfils it. */
	readonly holds: (usedAtMs: number, nowMs: number) => boolean;
}

/** Set by a snapshotter: RFC 3339 time of last use. */
const usedAtLabel = "containerd.io/gc.cond.value-usedat";

export function usedAt(labels: Labels): number | undefined {
	const time = Date.parse(entryOf(labels, usedAtLabel) ?? "");
	return Number.isNaN(time) ? undefined : time;
}

/**
 * `cond.snapshot.<snapshotter>[/suffix]` = `usedat<24h[,usedat>1h…]|<snapshot key>`: one of the conditions must hold.
 * What cannot be read is no condition, as in containerd.
 */
export function parseCondition(namespace: string, key: string, value: string): readonly Condition[] {
	const snapshotter =
		key
			.slice("cond.snapshot".length)
			.replace(/^[./]+/, "")
			.split("/", 1)[0] ?? "";
	const bar = value.indexOf("|");
	if (bar < 0) return [];
	const snapshot: GcNode = { kind: "snapshot", namespace, key: snapshotName(snapshotter, value.slice(bar + 1)) };
	return value
		.slice(0, bar)
		.split(",")
		.flatMap((text) => {
			const [, operator, age] = /^usedat([<>])([^=].*)$/.exec(text) ?? [];
			const ms = age === undefined ? undefined : goDuration(age);
			if (ms === undefined) return [];
			const holds = (usedAtMs: number, nowMs: number): boolean =>
				operator === "<" ? nowMs - usedAtMs < ms : nowMs - usedAtMs > ms;
			return [{ snapshot, holds }];
		});
}

const unitMs = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** Go's time.ParseDuration (`1h30m`), in milliseconds; undefined for what it would refuse. */
function goDuration(text: string): number | undefined {
	if (text === "0") return 0;
	if (!/^(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
	let total = 0;
	for (const [, number, , unit] of text.matchAll(/(\d+(\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
		total += Number(number) * unitMs[unit as keyof typeof unitMs];
	return total;
}
