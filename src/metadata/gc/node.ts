/** An object of the reference graph. A snapshot's key is `<snapshotter>/<key>`, a blob's its digest. */
export interface GcNode {
	readonly kind: "container" | "content" | "image" | "ingest" | "lease" | "snapshot";
	readonly namespace: string;
	readonly key: string;
	/** Kept by a flat lease: what it refers to by labels is not kept with it. */
	readonly flat?: boolean;
}

/** The same for a flat and a full reference to one object. */
export const nodeId = ({ kind, namespace, key }: GcNode): string => `${kind}/${namespace}/${key}`;
