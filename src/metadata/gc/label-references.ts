import type { Labels } from "../labels.ts";
import { snapshotName } from "../tables.ts";
import { type Condition, parseCondition } from "./condition.ts";
import type { GcNode } from "./node.ts";

/** What the labels of one object say about the reference graph (containerd: core/metadata/gc.go). */
export interface LabelReferences {
	/** `containerd.io/gc.root`, whatever its value: the object is kept. */
	readonly root: boolean;
	/** `gc.ref.*`: these live while the object lives. */
	readonly references: readonly GcNode[];
	/** `gc.bref.*`: the object lives while one of these lives. */
	readonly backReferences: readonly GcNode[];
	/** `gc.cond.snapshot*`: the object lives while the snapshot lives and fulfils the condition. */
	readonly conditions: readonly Condition[];
}

const none: LabelReferences = { root: false, references: [], backReferences: [], conditions: [] };
const prefix = "containerd.io/gc.";
const kinds = ["content", "image", "container"] as const;

export function labelReferences(namespace: string, labels: Labels): LabelReferences {
	const relevant = Object.entries(labels).filter(([key]) => key.startsWith(prefix));
	if (relevant.length === 0) return none;
	let root = false;
	const references: GcNode[] = [];
	const backReferences: GcNode[] = [];
	const conditions: Condition[] = [];
	for (const [label, value] of relevant) {
		const key = label.slice(prefix.length);
		if (key.startsWith("root")) root = true;
		else if (key.startsWith("ref.")) references.push(...target(namespace, key.slice("ref.".length), value, false));
		else if (key.startsWith("bref.")) backReferences.push(...target(namespace, key.slice("bref.".length), value, true));
		else if (key.startsWith("cond.snapshot")) conditions.push(...parseCondition(namespace, key, value));
	}
	return { root, references, backReferences, conditions };
}

/** `content`, `content.l.0`, `content/x`; `snapshot.overlayfs`, `snapshot.overlayfs/x`. A container only backwards. */
function target(namespace: string, name: string, value: string, back: boolean): readonly GcNode[] {
	if (name.startsWith("snapshot.")) {
		const snapshotter = name.slice("snapshot.".length).split("/", 1)[0] ?? "";
		return [{ kind: "snapshot", namespace, key: snapshotName(snapshotter, value) }];
	}
	const kind = kinds.find((word) => name === word || name.startsWith(`${word}.`) || name.startsWith(`${word}/`));
	return kind === undefined || (kind === "container" && !back) ? [] : [{ kind, namespace, key: value }];
}
