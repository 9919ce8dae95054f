import type { Descriptor } from "./descriptor.ts";
import { isConfig, isLayer, isManifest } from "./media-types.ts";

/** Labels by which the garbage collector and other clients follow content (containerd docs/garbage-collection.md). */
export const labelNames = {
	uncompressed: "containerd.io/uncompressed",
	snapshotRef: "containerd.io/snapshot.ref",
	snapshotOf: (snapshotter: string): string => `containerd.io/gc.ref.snapshot.${snapshotter}`,
	source: (registry: string): string => `containerd.io/distribution.source.${registry}`,
} as const;

const prefix = "containerd.io/gc.ref.content.";

/** The labels of a parent that keep its children alive: `config`, `m.<n>`, `l.<n>`, else `<n>` (images/mediatypes.go). */
export function childLabels(children: readonly Descriptor[]): Readonly<Record<string, string>> {
	const counts = new Map<string, number>();
	return Object.fromEntries(
		children.map(({ mediaType, digest }) => {
			const key = isConfig(mediaType) ? "config" : isManifest(mediaType) ? "m." : isLayer(mediaType) ? "l." : "";
			const count = counts.get(key) ?? 0;
			counts.set(key, count + 1);
			return [`${prefix}${key}${key === "config" && count === 0 ? "" : count}`, digest];
		}),
	);
}

/** Longest label, key and value together (containerd, labels/validate.go). */
const longestLabel = 4096;

/** The source label with one more repository: `repo[,repo]` in order; unchanged if it would grow too long. */
export function withSource(key: string, known: string | undefined, repository: string): string {
	const all = [...new Set([...(known ?? "").split(",").filter(Boolean), repository])].toSorted().join(",");
	return known !== undefined && key.length + all.length > longestLabel ? known : all;
}
