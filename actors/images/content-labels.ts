/** Labels by which the garbage collector and other clients follow images (containerd docs/garbage-collection.md). */
export const contentLabels = {
	/** On a layer's blob: its diff ID, so that nobody decompresses it again to learn it. */
	uncompressed: "containerd.io/uncompressed",
	/** On an extraction: the chain ID it will have. */
	snapshotRef: "containerd.io/snapshot.ref",
	/** On a config blob: the top snapshot, by snapshotter. */
	snapshot: (snapshotter: string): string => `containerd.io/gc.ref.snapshot.${snapshotter}`,
	/** On each blob: the repositories of a registry that have it. */
	source: (registry: string): string => `containerd.io/distribution.source.${registry}`,
} as const;

/** Longest label, key and value together (containerd, labels/validate.go). */
const longestLabel = 4096;

/** The source label with one more repository: `repo[,repo]` in order; unchanged if it would grow too long. */
export function withSource(key: string, known: string | undefined, repository: string): string {
	const all = [...new Set([...(known ?? "").split(",").filter(Boolean), repository])].toSorted().join(",");
	return known !== undefined && key.length + all.length > longestLabel ? known : all;
}
