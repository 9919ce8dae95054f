import type { Mount } from "../sys/mounts.ts";

/** `active` is writable, `view` is read-only, `committed` never changes again and may be a parent. */
export type SnapshotKind = "active" | "view" | "committed";

/** What is known of one snapshot. Times are nanoseconds since 1970. */
export interface SnapshotInfo {
	readonly kind: SnapshotKind;
	/** The key of an active snapshot or view, the name of a committed one: one space of names. */
	readonly name: string;
	/** Name of the committed snapshot below, empty for none. */
	readonly parent: string;
	readonly created: bigint;
	readonly updated: bigint;
	readonly labels: Readonly<Record<string, string>>;
}

/** What a snapshot adds on disk, without its parents. */
export interface SnapshotUsage {
	/** Bytes, as allocated blocks. */
	readonly size: bigint;
	readonly inodes: bigint;
}

export interface CommitOptions {
	readonly labels?: Readonly<Record<string, string>>;
	/**
	 * Rebase: gives a snapshot that was prepared without a parent its parent only now, so that a layer can be extracted
	 * before the layers below it are there (containerd 2.3 calls the capability `rebase`). FailedPrecondition if it was
	 * prepared on another parent.
	 */
	readonly parent?: string;
	/** What the snapshot uses, if whoever filled it has counted; else the directory is walked. */
	readonly usage?: SnapshotUsage | undefined;
	/**
	 * Directories that the layer's archive did not describe (Unpacked.impliedDirectories): they take owner, mode, times
	 * and attributes from the nearest parent that has them, so that a layer that only adds `tmp/x` does not change `/tmp`.
	 */
	readonly impliedDirectories?: readonly Uint8Array[];
	readonly signal?: AbortSignal;
}

/**
 * Layers of file systems, in containerd's words (core/snapshots/snapshotter.go). The life of a layer: `prepare` an
 * active snapshot on a committed parent, mount it, write into it, `commit` it under a name; from then on it is a parent
 * for others. A container's root is an active snapshot that is never committed, but removed.
 *
 * Keys are opaque: they may hold spaces and slashes. Errors are DaemonErrors with the snapshot's identity: NotFound,
 * AlreadyExists (key or name is taken), FailedPrecondition (wrong kind, or children in the way), InvalidArgument.
 * A method's promise settles after its change is durable.
 */
export interface Snapshotter {
	/** The name that clients use: `overlayfs`. */
	readonly name: string;
	/** The directory below which all snapshots are. */
	readonly root: string;
	/** `rebase`: {@link CommitOptions.parent} is supported. */
	readonly capabilities: readonly "rebase"[];
	/** An active, writable snapshot on `parent` (empty: on nothing), and the mounts that show it. */
	prepare(key: string, parent: string, labels?: Readonly<Record<string, string>>): Promise<readonly Mount[]>;
	/** A read-only snapshot on `parent`. */
	view(key: string, parent: string, labels?: Readonly<Record<string, string>>): Promise<readonly Mount[]>;
	/** The mounts of an active snapshot or view. */
	mounts(key: string): Promise<readonly Mount[]>;
	/** Turns the active snapshot `key` into the committed snapshot `name`; the key is free again. */
	commit(name: string, key: string, options?: CommitOptions): Promise<void>;
	stat(key: string): Promise<SnapshotInfo>;
	/** Replaces the labels that `fieldpaths` name (`labels`, `labels.<key>`); without paths, all labels. */
	update(key: string, labels: Readonly<Record<string, string>>, fieldpaths?: readonly string[]): Promise<SnapshotInfo>;
	/** Stored at commit; walked now for an active snapshot. */
	usage(key: string, signal?: AbortSignal): Promise<SnapshotUsage>;
	/** FailedPrecondition while children exist. The files are deleted in the background. */
	remove(key: string): Promise<void>;
	/** All snapshots, as they are when the call is made. */
	walk(): Iterable<SnapshotInfo>;
	/** Deletes what removal left behind and waits until it is gone. */
	cleanup(signal?: AbortSignal): Promise<void>;
	/** Stops background deletion; what is left is swept at the next start. */
	close(): Promise<void>;
}
