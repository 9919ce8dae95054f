import type { NamespacedContent } from "../content.ts";
import { deleteImage } from "../images.ts";
import { deleteLease } from "../leases.ts";
import type { LeftOver } from "../left-over.ts";
import { namespaceNames } from "../namespaces.ts";
import type { Clock } from "../scope.ts";
import { removeSnapshot } from "../snapshots.ts";
import type { Snapshotters } from "../snapshotters.ts";
import type { Store, Transaction } from "../store/store.ts";
import { blobs, images, ingests, leases, snapshotKeyOf, snapshots, snapshotterOf } from "../tables.ts";
import { type ExtraRoots, mark } from "./mark.ts";
import { type GcNode, nodeId } from "./node.ts";

export interface CollectionParts {
	readonly store: Store;
	readonly content: NamespacedContent;
	readonly snapshotters: Snapshotters;
	readonly now: Clock;
	readonly extraRoots?: readonly ExtraRoots[];
}

/** What one collection did. */
export interface Collection {
	/** Objects whose metadata was removed. */
	readonly removed: readonly GcNode[];
	/** Backend names whose bytes or files were removed. */
	readonly freed: readonly string[];
	/** What should have gone and could not; the next collection tries again. */
	readonly left: readonly LeftOver[];
	/** How long the metadata was held, in milliseconds: nothing else runs meanwhile. */
	readonly pauseMs: number;
}

/**
 * One collection in two phases, as containerd does it: mark and sweep of the metadata in one transaction, then, when that
 * is durable, removal of bytes and files, which may take its time. Repeating it changes nothing.
 */
export async function collect(parts: CollectionParts, signal: AbortSignal): Promise<Collection> {
	const { store, content, snapshotters, now, extraRoots } = parts;
	signal.throwIfAborted();
	let pauseMs = 0;
	const removed = await store.update((tx) => {
		const start = performance.now();
		const used = mark(tx, now(), extraRoots);
		const unused = allNodes(tx).filter((node) => !used.has(nodeId(node)));
		for (const node of unused) remove(tx, node);
		pauseMs = performance.now() - start;
		return unused;
	});
	for (const { kind, key } of removed) {
		if (kind === "content" || kind === "ingest") content.needsSweep = true;
		if (kind === "snapshot") snapshotters.named(snapshotterOf(key)).needsSweep = true;
	}
	const backends = [content, ...snapshotters.all()].filter(({ needsSweep }) => needsSweep);
	// Each is waited for, whatever becomes of the others: the next collection must not meet a sweep that is still under way.
	const sweeps = await Promise.allSettled(backends.map((backend) => backend.sweep(signal)));
	const swept = sweeps.map((sweep) => {
		if (sweep.status === "rejected") throw sweep.reason;
		return sweep.value;
	});
	return {
		removed,
		freed: swept.flatMap((one) => one.removed),
		left: swept.flatMap(({ left }) => left),
		pauseMs,
	};
}

/** Everything that can be collected. Containers are not: someone deletes them. */
function allNodes(tx: Transaction): readonly GcNode[] {
	const tables = { lease: leases, snapshot: snapshots, ingest: ingests, content: blobs, image: images };
	return namespaceNames(tx).flatMap((namespace) =>
		Object.entries(tables).flatMap(([kind, table]) =>
			table.list(tx, namespace).map(([key]) => ({ kind: kind as GcNode["kind"], namespace, key })),
		),
	);
}

/** Images and snapshots tell of their end, content does not (containerd 2.3: core/metadata/db.go). */
function remove(tx: Transaction, { kind, namespace, key }: GcNode): void {
	switch (kind) {
		case "lease":
			deleteLease(tx, namespace, key);
			break;
		case "image":
			deleteImage(tx, namespace, key);
			break;
		case "snapshot":
			removeSnapshot(tx, namespace, snapshotterOf(key), snapshotKeyOf(key));
			break;
		case "content":
			blobs.remove(tx, namespace, key);
			break;
		case "ingest":
			ingests.remove(tx, namespace, key);
			break;
		case "container":
			break;
	}
}
