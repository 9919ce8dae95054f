import { DaemonError } from "../errors/daemon-error.ts";
import type { Mount } from "../sys/mounts.ts";
import type { Trees } from "../workers/tree-pool.ts";
import { OverlayDirectories } from "./overlay-directories.ts";
import { type OverlaySupport, overlayMounts, overlaySupport } from "./overlay-mounts.ts";
import { snapshotError } from "./snapshot-error.ts";
import { type Labels, updatedLabels, withoutEmpty } from "./snapshot-labels.ts";
import { type RecordReader, type SnapshotRecord, type SnapshotRecords, SnapshotTable } from "./snapshot-records.ts";
import type { CommitOptions, SnapshotInfo, Snapshotter, SnapshotUsage } from "./snapshotter.ts";

export interface OverlaySnapshotterOptions {
	/** `<daemon root>/io.containerd.snapshotter.v1.overlayfs` */
	readonly root: string;
	readonly records: SnapshotRecords;
	readonly trees: Pick<Trees, "remove" | "usage" | "inherit">;
	/** Told of what no caller waits for: a tree that cannot be deleted, a recorded directory that is missing. */
	readonly onProblem: (problem: Error) => void;
	/** Default: what the kernel supports. */
	readonly support?: OverlaySupport;
	/** Nanoseconds since 1970; default: the clock. */
	readonly now?: () => bigint;
}

/**
 * Snapshots as overlayfs layers. Crash safety: a directory is made before its record and deleted after it, so that a
 * directory without a record is rubbish (swept by {@link openOverlaySnapshotter}); a record without a directory is damage
 * and reported.
 */
class OverlaySnapshotter implements Snapshotter {
	readonly name = "overlayfs";
	readonly capabilities = ["rebase"] as const;
	readonly root: string;
	readonly #records: SnapshotRecords;
	readonly #table = new SnapshotTable("overlayfs");
	readonly #directories: OverlayDirectories;
	readonly #trees: Pick<Trees, "usage" | "inherit">;
	readonly #support: OverlaySupport;
	readonly #now: () => bigint;
	readonly #onProblem: (problem: Error) => void;

	constructor(options: OverlaySnapshotterOptions, directories: OverlayDirectories, support: OverlaySupport) {
		this.root = options.root;
		this.#records = options.records;
		this.#directories = directories;
		this.#trees = options.trees;
		this.#support = support;
		this.#onProblem = options.onProblem;
		this.#now = options.now ?? (() => BigInt(Date.now()) * 1_000_000n);
	}

	prepare(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
		return this.#create("active", key, parent, labels);
	}

	view(key: string, parent: string, labels: Labels = {}): Promise<readonly Mount[]> {
		return this.#create("view", key, parent, labels);
	}

	async mounts(key: string): Promise<readonly Mount[]> {
		const record = this.#existing(this.#records, key);
		if (record.kind === "committed") throw snapshotError("FailedPrecondition", key, "committed: it has no mounts");
		return this.#mountsOf(record);
	}

	async commit(name: string, key: string, options: CommitOptions = {}): Promise<void> {
		const { parent: newParent, labels = {}, impliedDirectories = [], signal } = options;
		const { id, parent } = this.#committable(this.#records, name, key, newParent);
		const upper = this.#directories.upper(id);
		const lowers = this.#lowers(parent);
		const [nearest] = lowers;
		if (newParent !== undefined && nearest !== undefined) await this.#directories.takeOwner(id, nearest);
		if (impliedDirectories.length > 0 && lowers.length > 0)
			await this.#trees.inherit(upper, lowers, impliedDirectories);
		const usage = options.usage ?? (await this.#trees.usage(upper, signal));
		await this.#records.update((transaction) => {
			// Asked again: others had their turn while the tree was measured.
			const now = this.#committable(transaction, name, key, newParent);
			const time = this.#now();
			const { size, inodes } = usage;
			this.#table.delete(transaction, key);
			this.#table.put(transaction, name, {
				...now,
				kind: "committed",
				labels: withoutEmpty(labels),
				created: time,
				updated: time,
				usage: { size, inodes },
			});
		});
	}

	async stat(key: string): Promise<SnapshotInfo> {
		return infoOf(key, this.#existing(this.#records, key));
	}

	update(key: string, labels: Labels, fieldpaths: readonly string[] = []): Promise<SnapshotInfo> {
		return this.#records.update((transaction) => {
			const old = this.#existing(transaction, key);
			const record: SnapshotRecord = {
				...old,
				labels: updatedLabels(key, old.labels, labels, fieldpaths),
				updated: this.#now(),
			};
			this.#table.put(transaction, key, record);
			return infoOf(key, record);
		});
	}

	async usage(key: string, signal?: AbortSignal): Promise<SnapshotUsage> {
		const { kind, id, usage } = this.#existing(this.#records, key);
		if (kind === "active") return this.#trees.usage(this.#directories.upper(id), signal);
		return usage ?? { size: 0n, inodes: 0n };
	}

	async remove(key: string): Promise<void> {
		const id = await this.#records.update((transaction) => {
			const record = this.#existing(transaction, key);
			for (const [child, { parent }] of this.#table.all(transaction))
				if (parent === key)
					throw snapshotError("FailedPrecondition", key, `cannot remove: ${JSON.stringify(child)} is on it`);
			this.#table.delete(transaction, key);
			return record.id;
		});
		// The snapshot is gone whatever happens to its directory: what stays is swept at the next start.
		await this.#directories.doom(id).catch(this.#onProblem);
	}

	walk(): Iterable<SnapshotInfo> {
		return Array.from(this.#table.all(this.#records), ([key, record]) => infoOf(key, record));
	}

	async cleanup(signal?: AbortSignal): Promise<void> {
		await this.#directories.cleanup(signal);
	}

	async close(): Promise<void> {
		await this.#directories.close();
	}

	async #create(kind: "active" | "view", key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
		if (key === "") throw snapshotError("InvalidArgument", key, "a key must not be empty");
		this.#creatable(this.#records, key, parent);
		const [nearest] = this.#lowers(parent);
		const id = await this.#directories.create(kind, nearest);
		const time = this.#now();
		const record: SnapshotRecord = {
			schema: 1,
			id,
			kind,
			parent,
			labels: withoutEmpty(labels),
			created: time,
			updated: time,
		};
		try {
			await this.#records.update((transaction) => {
				this.#creatable(transaction, key, parent);
				this.#table.put(transaction, key, record);
			});
		} catch (reason) {
			await this.#directories.doom(id);
			throw reason;
		}
		return this.#mountsOf(record);
	}

	#existing(reader: RecordReader, key: string): SnapshotRecord {
		const record = this.#table.get(reader, key);
		if (record === undefined) throw snapshotError("NotFound", key, "not found");
		return record;
	}

	#creatable(reader: RecordReader, key: string, parent: string): void {
		if (this.#table.get(reader, key) !== undefined) throw snapshotError("AlreadyExists", key, "already exists");
		if (parent !== "") this.#asParent(reader, key, parent);
	}

	#asParent(reader: RecordReader, key: string, parent: string): void {
		const record = this.#table.get(reader, parent);
		if (record === undefined) throw snapshotError("NotFound", parent, `not found, as parent of ${JSON.stringify(key)}`);
		if (record.kind !== "committed")
			throw snapshotError("InvalidArgument", parent, `is ${record.kind}: only a committed snapshot is a parent`);
	}

	/** The active record as it will be committed: with its parent. */
	#committable(reader: RecordReader, name: string, key: string, parent: string | undefined): SnapshotRecord {
		if (name === "") throw snapshotError("InvalidArgument", name, "a name must not be empty");
		const record = this.#existing(reader, key);
		if (record.kind !== "active")
			throw snapshotError("FailedPrecondition", key, `is ${record.kind}: only an active snapshot is committed`);
		if (this.#table.get(reader, name) !== undefined) throw snapshotError("AlreadyExists", name, "already exists");
		if (parent === undefined || parent === record.parent) return record;
		if (record.parent !== "")
			throw snapshotError(
				"FailedPrecondition",
				key,
				`was prepared on ${JSON.stringify(record.parent)}: no other parent`,
			);
		this.#asParent(reader, key, parent);
		return { ...record, parent };
	}

	#mountsOf({ kind, id, parent }: SnapshotRecord): readonly Mount[] {
		const { upper, work } = { upper: this.#directories.upper(id), work: this.#directories.work(id) };
		return overlayMounts(kind, { upper, work, lowers: this.#lowers(parent) }, this.#support);
	}

	/** The directories of a snapshot and all below it, nearest first. */
	#lowers(key: string): readonly string[] {
		const lowers: string[] = [];
		for (let name = key; name !== ""; ) {
			const record = this.#existing(this.#records, name);
			lowers.push(this.#directories.upper(record.id));
			name = record.parent;
		}
		return lowers;
	}
}

const infoOf = (name: string, { kind, parent, created, updated, labels }: SnapshotRecord): SnapshotInfo => ({
	kind,
	name,
	parent,
	created,
	updated,
	labels,
});

/** Opens the snapshots below a root: sweeps directories without a record, reports records without a directory. */
export async function openOverlaySnapshotter(options: OverlaySnapshotterOptions): Promise<Snapshotter> {
	const { root, records, trees, onProblem } = options;
	const directories = new OverlayDirectories(root, trees, onProblem);
	const keys = new Map<number, string>();
	for (const [key, { id }] of new SnapshotTable("overlayfs").all(records)) keys.set(id, key);
	for (const id of await directories.open(new Set(keys.keys())))
		onProblem(
			new DaemonError(
				"DataLoss",
				{ kind: "snapshot", id: keys.get(id) ?? String(id) },
				`its directory ${id} is missing`,
			),
		);
	return new OverlaySnapshotter(options, directories, options.support ?? (await overlaySupport()));
}
