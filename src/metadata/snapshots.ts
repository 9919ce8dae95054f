import { DaemonError } from "../errors/daemon-error.ts";
import { SnapshotCommit, SnapshotPrepare, SnapshotRemove } from "../gen/containerd/events/snapshot.ts";
import type {
	CommitOptions,
	SnapshotInfo,
	SnapshotKind,
	Snapshotter,
	SnapshotUsage,
} from "../snapshots/snapshotter.ts";
import type { Mount } from "../sys/mounts.ts";
import { type FieldPaths, updatedLabels } from "./field-mask.ts";
import { mapField, parseFilters } from "./filter.ts";
import { checkedLabels, entryOf, type Labels } from "./labels.ts";
import { joinLease, leaveLease } from "./lease-membership.ts";
import { type LeftOver, removing, type Swept } from "./left-over.ts";
import { ensureNamespace, namespaceNames } from "./namespaces.ts";
import { type Clock, type Scope, systemClock } from "./scope.ts";
import { backendName, sequence } from "./sequence.ts";
import { stageEvent } from "./stage-event.ts";
import type { Reader, Store, Transaction } from "./store/store.ts";
import { type StoredSnapshot, snapshotName, snapshots as table } from "./tables.ts";
import { Turns } from "./turns.ts";

export type Snapshot = StoredSnapshot & { readonly key: string };

/** Prepare with this label asks for a committed snapshot of that name; AlreadyExists is then the good answer. */
export const snapshotRefLabel = "containerd.io/snapshot.ref";
/** Labels that the backend gets to see. */
const inheritedPrefix = "containerd.io/snapshot/";

export interface SnapshotStoreOptions {
	readonly store: Store;
	readonly snapshotter: Snapshotter;
	readonly now?: Clock;
}

/** The snapshots of one snapshotter, by namespace (containerd: core/metadata/snapshot.go). Keys are any text. */
export class SnapshotStore {
	/** Whether the backend may hold what no namespace has. True at the start: a crash may have left something. */
	needsSweep = true;
	/** The snapshotter's name. */
	readonly name: string;
	readonly #store: Store;
	readonly #backend: Snapshotter;
	readonly #now: Clock;
	readonly #nextNumber = sequence();
	/** By namespace and key. */
	readonly #turns = new Turns();
	/** Backend keys whose metadata is on its way to the disk: a sweep must not take them for lost. */
	readonly #arriving = new Set<string>();

	constructor({ store, snapshotter, now = systemClock }: SnapshotStoreOptions) {
		this.name = snapshotter.name;
		this.#store = store;
		this.#backend = snapshotter;
		this.#now = now;
	}

	/** Errors: NotFound. */
	stat(namespace: string, key: string): Snapshot {
		return { key, ...this.#require(this.#store, namespace, key) };
	}

	/** Those that one of the filters matches (name, kind, parent, labels), by key. */
	list(namespace: string, filters: readonly string[] = []): readonly Snapshot[] {
		const matches = parseFilters(filters);
		return this.#all(this.#store, namespace).filter((snapshot) => matches((path) => fieldOf(snapshot, path)));
	}

	/** Only labels can be updated. Errors: NotFound, InvalidArgument. */
	update(namespace: string, key: string, labels: Labels, paths?: FieldPaths): Promise<Snapshot> {
		return this.#turns.run(turnOf(namespace, key), async () => {
			const identity = table.identity(namespace, key);
			const { backendKey, labels: current } = this.#require(this.#store, namespace, key);
			const next = checkedLabels(updatedLabels(current, labels, paths, identity), identity);
			await this.#backend.update(backendKey, inherited(next));
			return this.#store.update((tx) => {
				const snapshot = { ...this.#require(tx, namespace, key), labels: next, updatedAt: this.#now() };
				table.put(tx, namespace, this.#name(key), snapshot);
				return { key, ...snapshot };
			});
		});
	}

	/** Errors: NotFound. */
	async usage(namespace: string, key: string, signal?: AbortSignal): Promise<SnapshotUsage> {
		return this.#backend.usage(this.#require(this.#store, namespace, key).backendKey, signal);
	}

	/** Errors: NotFound; FailedPrecondition for a committed one. */
	async mounts(namespace: string, key: string): Promise<readonly Mount[]> {
		return this.#backend.mounts(this.#require(this.#store, namespace, key).backendKey);
	}

	/**
	 * A writable snapshot. Errors: AlreadyExists for the key, or for what the ref label asks for (which joins the lease);
	 * NotFound for the parent or the lease; InvalidArgument.
	 */
	prepare(scope: Scope, key: string, parent = "", labels: Labels = {}): Promise<readonly Mount[]> {
		return this.#create(scope, "active", key, parent, labels);
	}

	/** A read-only snapshot. Errors as of {@link prepare}. */
	view(scope: Scope, key: string, parent = "", labels: Labels = {}): Promise<readonly Mount[]> {
		return this.#create(scope, "view", key, parent, labels);
	}

	/**
	 * The active snapshot `key` becomes the committed snapshot `name`. Errors: AlreadyExists for the name; NotFound for key,
	 * parent or lease; FailedPrecondition if it is not active, or was prepared on another parent.
	 */
	commit(scope: Scope, name: string, key: string, options: CommitOptions = {}): Promise<void> {
		const { namespace } = scope;
		return this.#turns.runBoth(turnOf(namespace, name), turnOf(namespace, key), async () => {
			const labels = checkedLabels(options.labels ?? {}, table.identity(namespace, name));
			if (this.#get(this.#store, namespace, name) !== undefined) await this.#alreadyExists(scope, name);
			const active = this.#require(this.#store, namespace, key);
			const parent = active.parent === "" ? (options.parent ?? "") : active.parent;
			if (options.parent !== undefined && options.parent !== "" && options.parent !== parent)
				throw new DaemonError("FailedPrecondition", table.identity(namespace, key), `its parent is ${parent}`);
			const backendParent = parent === "" ? undefined : this.#require(this.#store, namespace, parent).backendKey;
			await this.#arrive(namespace, name, async (backendKey) => {
				await this.#backend.commit(backendKey, active.backendKey, {
					...options,
					labels: inherited(labels),
					...(backendParent === undefined ? {} : { parent: backendParent }),
				});
				await this.#store.update((tx) => {
					if (parent !== "") this.#require(tx, namespace, parent);
					joinLease(tx, scope, this.#resource(name));
					leaveLease(tx, scope, this.#resource(key));
					table.remove(tx, namespace, this.#name(key));
					this.#insert(tx, namespace, name, { backendKey, kind: "committed", parent, labels });
					const message = { key, name, snapshotter: this.name };
					stageEvent(tx, namespace, "/snapshot/commit", "containerd.events.SnapshotCommit", SnapshotCommit, message);
				});
			});
		});
	}

	/** The files go at the next collection. Errors: NotFound; FailedPrecondition while it has children. */
	remove(scope: Scope, key: string): Promise<void> {
		const { namespace } = scope;
		return this.#turns.run(turnOf(namespace, key), async () => {
			await this.#store.update((tx) => {
				this.#require(tx, namespace, key);
				if (this.#all(tx, namespace).some(({ parent }) => parent === key)) {
					const identity = table.identity(namespace, key);
					throw new DaemonError("FailedPrecondition", identity, "cannot remove snapshot with child");
				}
				leaveLease(tx, scope, this.#resource(key));
				removeSnapshot(tx, namespace, this.name, key);
			});
			this.needsSweep = true;
		});
	}

	/** Waits until removed files are gone. */
	cleanup(signal?: AbortSignal): Promise<void> {
		return this.#backend.cleanup(signal);
	}

	/** Removes from the backend what no namespace has, children first; then waits until the files are gone. */
	async sweep(signal?: AbortSignal): Promise<Swept> {
		this.needsSweep = false;
		try {
			const swept = await this.#sweep(signal);
			if (swept.left.length > 0) this.needsSweep = true;
			return swept;
		} catch (reason) {
			this.needsSweep = true;
			throw reason;
		}
	}

	async #sweep(signal: AbortSignal | undefined): Promise<Swept> {
		const swept = { removed: [] as string[], left: [] as LeftOver[] };
		const kept = new Set(
			namespaceNames(this.#store).flatMap((name) => this.#all(this.#store, name).map(({ backendKey }) => backendKey)),
		);
		const lost = [...this.#backend.walk()].filter(({ name }) => !kept.has(name) && !this.#arriving.has(name));
		for (const { name, labels } of childrenFirst(lost)) {
			signal?.throwIfAborted();
			// only a target of prepare can have been adopted meanwhile
			if (entryOf(labels, snapshotRefLabel) !== undefined && this.#isKept(name)) continue;
			await removing(swept, { kind: "snapshot", id: name }, () => this.#backend.remove(name));
		}
		await this.#backend.cleanup(signal);
		return swept;
	}

	#isKept(backendKey: string): boolean {
		return namespaceNames(this.#store).some((name) =>
			this.#all(this.#store, name).some((snapshot) => snapshot.backendKey === backendKey),
		);
	}

	#create(
		scope: Scope,
		kind: "active" | "view",
		key: string,
		parent: string,
		given: Labels,
	): Promise<readonly Mount[]> {
		const { namespace } = scope;
		return this.#turns.run(turnOf(namespace, key), async () => {
			const identity = table.identity(namespace, key);
			if (key === "") throw new DaemonError("InvalidArgument", identity, "snapshot key must not be empty");
			const labels = checkedLabels(given, identity);
			const target = entryOf(labels, snapshotRefLabel);
			if (target !== undefined && this.#get(this.#store, namespace, target) !== undefined)
				await this.#alreadyExists(scope, target);
			if (this.#get(this.#store, namespace, key) !== undefined) await this.#alreadyExists(scope, key);
			const backendParent = parent === "" ? "" : this.#require(this.#store, namespace, parent).backendKey;
			return this.#arrive(namespace, key, async (backendKey) => {
				const mounts = await this.#createInBackend(kind, backendKey, backendParent, labels).catch((reason) =>
					this.#adopt(scope, reason, target, parent, backendParent, labels),
				);
				try {
					await this.#store.update((tx) => {
						if (parent !== "") this.#require(tx, namespace, parent);
						joinLease(tx, scope, this.#resource(key));
						this.#insert(tx, namespace, key, { backendKey, kind, parent, labels });
						if (kind === "view") return; // as in containerd, no event tells of a view
						const message = { key, parent, snapshotter: this.name };
						stageEvent(
							tx,
							namespace,
							"/snapshot/prepare",
							"containerd.events.SnapshotPrepare",
							SnapshotPrepare,
							message,
						);
					});
				} catch (reason) {
					await this.#backend.remove(backendKey).catch(() => undefined); // the next sweep finds it
					throw reason;
				}
				return mounts;
			});
		});
	}

	#createInBackend(kind: "active" | "view", key: string, parent: string, labels: Labels): Promise<readonly Mount[]> {
		return kind === "view"
			? this.#backend.view(key, parent, inherited(labels))
			: this.#backend.prepare(key, parent, inherited(labels));
	}

	/**
	 * A backend that fetches layers itself (lazy snapshotters) answers AlreadyExists when it has what the ref label asks
	 * for: the namespace gets that snapshot under the name, and the caller AlreadyExists.
	 */
	async #adopt(
		scope: Scope,
		reason: unknown,
		target: string | undefined,
		parent: string,
		backendParent: string,
		labels: Labels,
	): Promise<never> {
		if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists" || target === undefined) throw reason;
		const { namespace } = scope;
		const found = [...this.#backend.walk()].find(
			(info) =>
				info.kind === "committed" && info.parent === backendParent && entryOf(info.labels, snapshotRefLabel) === target,
		);
		if (found === undefined)
			throw new DaemonError("NotFound", table.identity(namespace, target), "target snapshot not found in backend");
		await this.#store.update((tx) => {
			if (parent !== "") this.#require(tx, namespace, parent);
			if (this.#get(tx, namespace, target) !== undefined) return;
			const all = { ...found.labels, ...labels };
			this.#insert(tx, namespace, target, { backendKey: found.name, kind: "committed", parent, labels: all });
		});
		return this.#alreadyExists(scope, target);
	}

	async #alreadyExists(scope: Scope, key: string): Promise<never> {
		await this.#store.update((tx) => joinLease(tx, scope, this.#resource(key)));
		throw new DaemonError("AlreadyExists", table.identity(scope.namespace, key), "already exists");
	}

	/** Keeps a new backend key from the sweep until its metadata is durable, or it has failed. */
	async #arrive<T>(namespace: string, key: string, act: (backendKey: string) => Promise<T>): Promise<T> {
		const backendKey = backendName(namespace, this.#nextNumber(), key);
		this.#arriving.add(backendKey);
		try {
			return await act(backendKey);
		} catch (reason) {
			this.needsSweep = true;
			throw reason;
		} finally {
			this.#arriving.delete(backendKey);
		}
	}

	#insert(
		tx: Transaction,
		namespace: string,
		key: string,
		snapshot: Omit<StoredSnapshot, "createdAt" | "updatedAt">,
	): void {
		ensureNamespace(tx, namespace);
		if (this.#get(tx, namespace, key) !== undefined)
			throw new DaemonError("AlreadyExists", table.identity(namespace, key), "already exists");
		const createdAt = this.#now();
		table.put(tx, namespace, this.#name(key), { ...snapshot, createdAt, updatedAt: createdAt });
	}

	#get(reader: Reader, namespace: string, key: string): StoredSnapshot | undefined {
		return table.get(reader, namespace, this.#name(key));
	}

	#require(reader: Reader, namespace: string, key: string): StoredSnapshot {
		const snapshot = this.#get(reader, namespace, key);
		if (snapshot === undefined) throw new DaemonError("NotFound", table.identity(namespace, key), "does not exist");
		return snapshot;
	}

	#all(reader: Reader, namespace: string): readonly Snapshot[] {
		const prefix = this.#name("");
		return table
			.list(reader, namespace, prefix)
			.map(([name, snapshot]) => ({ key: name.slice(prefix.length), ...snapshot }));
	}

	#name(key: string): string {
		return snapshotName(this.name, key);
	}

	#resource(key: string) {
		return { type: `snapshots/${this.name}`, id: key };
	}
}

/** Errors: NotFound. Does not look for children. */
export function removeSnapshot(tx: Transaction, namespace: string, snapshotter: string, key: string): void {
	table.remove(tx, namespace, snapshotName(snapshotter, key));
	const message = { key, snapshotter };
	stageEvent(tx, namespace, "/snapshot/remove", "containerd.events.SnapshotRemove", SnapshotRemove, message);
}

const turnOf = (namespace: string, key: string): string => `${namespace}/${key}`;

const inherited = (labels: Labels): Labels =>
	Object.fromEntries(
		Object.entries(labels).filter(([key]) => key === snapshotRefLabel || key.startsWith(inheritedPrefix)),
	);

/** A snapshot comes after all of the list that lie on it. */
function childrenFirst(infos: readonly SnapshotInfo[]): readonly SnapshotInfo[] {
	const byName = new Map(infos.map((info) => [info.name, info]));
	const depth = (info: SnapshotInfo): number => {
		let steps = 0;
		for (let below = byName.get(info.parent); below !== undefined; below = byName.get(below.parent)) steps++;
		return steps;
	};
	return infos
		.map((info) => ({ info, depth: depth(info) }))
		.sort((a, b) => b.depth - a.depth)
		.map(({ info }) => info);
}

function fieldOf({ key, kind, parent, labels }: Snapshot, [first, ...rest]: readonly string[]): string | undefined {
	switch (first) {
		case "name":
			return key;
		case "kind":
			return kind satisfies SnapshotKind;
		case "parent":
			return parent;
		case "labels":
			return mapField(labels, rest);
		default:
			return undefined;
	}
}
