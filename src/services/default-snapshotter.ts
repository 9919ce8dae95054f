import type { NamespaceStore } from "../metadata/namespaces.ts";

/** Label of a namespace by which clients choose where the request names none (containerd: pkg/defaults). */
const label = "containerd.io/defaults/snapshotter";

/** The snapshotter of a request that names none: the namespace's own default, else overlayfs. */
export const defaultSnapshotter =
	(namespaces: Pick<NamespaceStore, "get">) =>
	(namespace: string): string =>
		namespaces.get(namespace).labels[label] ?? "overlayfs";
