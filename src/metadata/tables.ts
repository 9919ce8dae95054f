import type { Digest } from "../content/digest.ts";
import type { SnapshotKind } from "../snapshots/snapshotter.ts";
import type { Labels } from "./labels.ts";
import type { AnyValue } from "./scope.ts";
import type { Reader } from "./store/store.ts";
import { Table } from "./table.ts";

/** What is stored of each kind of object. Times are nanoseconds since 1970. */

export type StoredContainer = {
	readonly labels: Labels;
	readonly image: string;
	readonly runtime: { readonly name: string; readonly options?: AnyValue | undefined };
	readonly spec: AnyValue;
	readonly snapshotter: string;
	readonly snapshotKey: string;
	readonly createdAt: bigint;
	readonly updatedAt: bigint;
	readonly extensions: Readonly<Record<string, AnyValue>>;
	/** Id of the sandbox it belongs to; empty for none. */
	readonly sandbox: string;
};

/** What an image's name stands for. */
export type ImageTarget = {
	readonly mediaType: string;
	readonly digest: Digest;
	/** Bytes. */
	readonly size: number;
	readonly annotations: Readonly<Record<string, string>>;
};

export type StoredImage = {
	readonly labels: Labels;
	readonly target: ImageTarget;
	readonly createdAt: bigint;
	readonly updatedAt: bigint;
};

export type StoredBlob = {
	readonly labels: Labels;
	/** Bytes. */
	readonly size: number;
	readonly createdAt: bigint;
	readonly updatedAt: bigint;
};

export type StoredIngest = {
	/** Its ref in the content store. */
	readonly backendRef: string;
	/** Bytes that another namespace has already: nothing is written, the blob appears at commit. */
	readonly shared?: { readonly digest: Digest; readonly size: number } | undefined;
	/** When it is collected, unless a lease keeps it. */
	readonly expiresAt?: bigint | undefined;
	readonly startedAt: bigint;
};

export type StoredSnapshot = {
	/** Its name in the snapshotter: `namespace/sequence/key`. */
	readonly backendKey: string;
	readonly kind: SnapshotKind;
	/** Key of the parent in the same namespace; empty for none. */
	readonly parent: string;
	readonly labels: Labels;
	readonly createdAt: bigint;
	readonly updatedAt: bigint;
};

export type StoredLease = {
	readonly labels: Labels;
	readonly createdAt: bigint;
};

/** `type`: content, ingests, images or snapshots/<snapshotter>. */
export type StoredResource = {
	readonly lease: string;
	readonly type: string;
	readonly id: string;
};

export const containers = new Table<StoredContainer>("container");
export const images = new Table<StoredImage>("image");
export const blobs = new Table<StoredBlob>("content");
export const ingests = new Table<StoredIngest>("ingest");
/** Names are `<snapshotter>/<key>`. */
export const snapshots = new Table<StoredSnapshot>("snapshot");
export const leases = new Table<StoredLease>("lease");
/** Names are `<lease, URI-encoded>/<type>/<id>`. */
export const leaseResources = new Table<StoredResource>("lease resource", "lease-resource");

/** What goes with a namespace. */
export const leaseContents = [leases, leaseResources, ingests] as const;

/** What a namespace still holds, in containerd's words; empty for nothing that would keep it from being deleted. */
export function contents(reader: Reader, namespace: string): readonly string[] {
	const found: string[] = [];
	if (!images.isEmpty(reader, namespace)) found.push("images");
	if (!blobs.isEmpty(reader, namespace)) found.push("blobs");
	if (!containers.isEmpty(reader, namespace)) found.push("containers");
	const snapshotters = new Set(snapshots.list(reader, namespace).map(([name]) => snapshotterOf(name)));
	for (const name of snapshotters) found.push(`snapshots on "${name}" snapshotter`);
	return found;
}

/** The snapshotter in a snapshot's stored name, and its key. */
export const snapshotterOf = (name: string): string => name.slice(0, name.indexOf("/"));
export const snapshotKeyOf = (name: string): string => name.slice(name.indexOf("/") + 1);
export const snapshotName = (snapshotter: string, key: string): string => `${snapshotter}/${key}`;
