import { entryOf, type Labels } from "../labels.ts";
import { resourcesOf } from "../lease-membership.ts";
import { namespaceNames } from "../namespaces.ts";
import type { Reader } from "../store/store.ts";
import { blobs, containers, images, ingests, leases, snapshotName, snapshots, snapshotterOf } from "../tables.ts";
import { type Condition, usedAt } from "./condition.ts";
import { expiryOf, isExpired } from "./expiry.ts";
import { labelReferences } from "./label-references.ts";
import { type GcNode, nodeId } from "./node.ts";

const flatLabel = "containerd.io/gc.flat";

/** Objects that someone uses beside those of the metadata store (a pull under way, a mount): roots of the graph. */
export type ExtraRoots = (reader: Reader) => Iterable<GcNode>;

/** Ids of all objects that are in use at `now` (nanoseconds since 1970): reachable from a root. */
export function mark(reader: Reader, now: bigint, extraRoots: readonly ExtraRoots[] = []): ReadonlySet<string> {
	const graph = new Graph(reader, now);
	for (const namespace of namespaceNames(reader)) graph.scan(namespace);
	for (const more of extraRoots) graph.addRoots(more(reader));
	return graph.reach();
}

class Graph {
	readonly #reader: Reader;
	readonly #now: bigint;
	readonly #roots: GcNode[] = [];
	/** By id: what lives while this one lives, told by itself. */
	readonly #backReferences = new Map<string, GcNode[]>();
	readonly #conditions: { readonly holder: GcNode; readonly condition: Condition }[] = [];

	constructor(reader: Reader, now: bigint) {
		this.#reader = reader;
		this.#now = now;
	}

	addRoots(nodes: Iterable<GcNode>): void {
		this.#roots.push(...nodes);
	}

	scan(namespace: string): void {
		for (const [id, { labels }] of leases.list(this.#reader, namespace)) this.#scanLease(namespace, id, labels);
		for (const [key, { labels }] of images.list(this.#reader, namespace)) {
			const image: GcNode = { kind: "image", namespace, key };
			this.#scanLabels(image, labels);
			if (!isExpired(labels, this.#now)) this.#roots.push(image);
		}
		for (const [key, { expiresAt }] of ingests.list(this.#reader, namespace))
			if (expiresAt !== undefined && expiresAt >= this.#now) this.#roots.push({ kind: "ingest", namespace, key });
		for (const [key, { labels }] of blobs.list(this.#reader, namespace)) {
			const blob: GcNode = { kind: "content", namespace, key };
			if (this.#scanLabels(blob, labels)) this.#roots.push(blob);
		}
		for (const [key, { labels }] of containers.list(this.#reader, namespace)) {
			const container: GcNode = { kind: "container", namespace, key };
			this.#scanLabels(container, labels);
			this.#roots.push(container);
		}
		for (const [key, { labels }] of snapshots.list(this.#reader, namespace)) {
			const snapshot: GcNode = { kind: "snapshot", namespace, key };
			if (this.#scanLabels(snapshot, labels)) this.#roots.push(snapshot);
		}
	}

	reach(): ReadonlySet<string> {
		this.#decideConditions();
		const reached = new Set<string>();
		const followed = new Set<string>();
		const todo = [...this.#roots];
		for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
			const id = nodeId(node);
			// reached flatly first, an object may still be reached in full
			const step = node.flat ? `flat ${id}` : id;
			if (followed.has(step)) continue;
			followed.add(step);
			reached.add(id);
			todo.push(...(this.#backReferences.get(id) ?? []), ...this.#references(node));
		}
		return reached;
	}

	/** Its resources are roots themselves; an expired lease holds nothing and is collected. */
	#scanLease(namespace: string, id: string, labels: Labels): void {
		if (isExpired(labels, this.#now)) return;
		const flat = entryOf(labels, flatLabel) !== undefined;
		this.#roots.push({ kind: "lease", namespace, key: id });
		for (const { type, id: resource } of resourcesOf(this.#reader, namespace, id)) {
			if (type === "content") this.#roots.push({ kind: "content", namespace, key: resource, flat });
			else if (type === "images") this.#roots.push({ kind: "image", namespace, key: resource, flat });
			else if (type === "ingests") this.#roots.push({ kind: "ingest", namespace, key: resource });
			else {
				const key = snapshotName(type.slice("snapshots/".length), resource);
				this.#roots.push({ kind: "snapshot", namespace, key, flat });
			}
		}
	}

	/** Files back references and conditions; true for a label that makes the object a root. */
	#scanLabels(node: GcNode, labels: Labels): boolean {
		const { root, backReferences, conditions } = labelReferences(node.namespace, labels);
		for (const holder of backReferences) this.#addBackReference(holder, node);
		for (const condition of conditions) this.#conditions.push({ holder: node, condition });
		return root || this.#isNotYetExpired(node, labels);
	}

	/** For content and snapshots the expire label means: a root until then. */
	#isNotYetExpired({ kind }: GcNode, labels: Labels): boolean {
		if (kind !== "content" && kind !== "snapshot") return false;
		const expiry = expiryOf(labels);
		return expiry !== undefined && expiry >= this.#now;
	}

	#addBackReference(holder: GcNode, node: GcNode): void {
		const id = nodeId(holder);
		const known = this.#backReferences.get(id);
		if (known === undefined) this.#backReferences.set(id, [node]);
		else known.push(node);
	}

	#decideConditions(): void {
		const nowMs = Number(this.#now / 1_000_000n);
		for (const { holder, condition } of this.#conditions) {
			const { namespace, key } = condition.snapshot;
			const used = usedAt(snapshots.get(this.#reader, namespace, key)?.labels ?? {});
			if (used !== undefined && condition.holds(used, nowMs)) this.#addBackReference(condition.snapshot, holder);
		}
	}

	/** What a node refers to; nothing for one that is not there. */
	#references(node: GcNode): readonly GcNode[] {
		const { kind, namespace, key, flat = false } = node;
		const labelled = (labels: Labels): readonly GcNode[] => (flat ? [] : labelReferences(namespace, labels).references);
		switch (kind) {
			case "content": {
				const blob = blobs.get(this.#reader, namespace, key);
				return blob === undefined ? [] : labelled(blob.labels);
			}
			case "image": {
				const image = images.get(this.#reader, namespace, key);
				if (image === undefined) return [];
				return [{ kind: "content", namespace, key: image.target.digest, flat }, ...labelled(image.labels)];
			}
			case "snapshot": {
				const snapshot = snapshots.get(this.#reader, namespace, key);
				if (snapshot === undefined) return [];
				const parent = snapshotName(snapshotterOf(key), snapshot.parent);
				const below: readonly GcNode[] =
					snapshot.parent === "" ? [] : [{ kind: "snapshot", namespace, key: parent, flat }];
				return [...below, ...labelled(snapshot.labels)];
			}
			case "ingest": {
				const shared = ingests.get(this.#reader, namespace, key)?.shared;
				return shared === undefined ? [] : [{ kind: "content", namespace, key: shared.digest }];
			}
			case "container": {
				const container = containers.get(this.#reader, namespace, key);
				if (container === undefined) return [];
				const { snapshotter, snapshotKey, labels } = container;
				const root: readonly GcNode[] =
					snapshotter === "" ? [] : [{ kind: "snapshot", namespace, key: snapshotName(snapshotter, snapshotKey) }];
				return [...root, ...labelled(labels)];
			}
			case "lease":
				return [];
		}
	}
}
