import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { NamespaceCreate, NamespaceDelete, NamespaceUpdate } from "../gen/containerd/events/namespace.ts";
import { type FieldPaths, keyIn, notUpdatable } from "./field-mask.ts";
import { identifier } from "./identifier.ts";
import { checkedLabels, entryOf, type Labels, withEntry } from "./labels.ts";
import { stageEvent } from "./stage-event.ts";
import type { Reader, Store, Transaction } from "./store/store.ts";
import { Table } from "./table.ts";
import { contents, leaseContents } from "./tables.ts";

export type Namespace = { readonly name: string; readonly labels: Labels };

/** Namespaces belong to no namespace. */
const table = new Table<{ readonly labels: Labels }>("namespace");
const identity = (name: string): ObjectIdentity => ({ kind: "namespace", id: name });

/** Names of all namespaces, in order. */
export const namespaceNames = (reader: Reader): readonly string[] => table.list(reader, "").map(([name]) => name);

/** Labels of a namespace; none for one that does not exist. */
export const namespaceLabels = (reader: Reader, name: string): Labels => table.get(reader, "", name)?.labels ?? {};

/** A namespace exists as soon as something is written in it; no event tells of that. */
export function ensureNamespace(transaction: Transaction, name: string): void {
	if (table.get(transaction, "", name) === undefined)
		table.put(transaction, "", identifier("namespace", name), { labels: {} });
}

/** Namespaces and their labels (containerd: core/metadata/namespaces.go). */
export class NamespaceStore {
	readonly #store: Store;

	constructor(store: Store) {
		this.#store = store;
	}

	/** An unknown namespace has no labels; that is no error. */
	get(name: string): Namespace {
		return { name, labels: namespaceLabels(this.#store, name) };
	}

	list(): readonly Namespace[] {
		return table.list(this.#store, "").map(([name, { labels }]) => ({ name, labels }));
	}

	/** Errors: AlreadyExists, InvalidArgument. */
	async create(name: string, given: Labels = {}): Promise<Namespace> {
		identifier("namespace", name);
		const labels = checkedLabels(given, identity(name));
		await this.#store.update((tx) => {
			if (table.get(tx, "", name) !== undefined)
				throw new DaemonError("AlreadyExists", identity(name), "already exists");
			table.put(tx, "", name, { labels });
			stageEvent(tx, name, "/namespaces/create", "containerd.events.NamespaceCreate", NamespaceCreate, {
				name,
				labels,
			});
		});
		return { name, labels };
	}

	/**
	 * Replaces all labels, or those that the paths name; only `labels.<key>` is taken, the bare word `labels` is
	 * InvalidArgument here. Errors: NotFound.
	 */
	update(name: string, given: Labels, paths?: FieldPaths): Promise<Namespace> {
		return this.#store.update((tx) => {
			const current = table.get(tx, "", name);
			if (current === undefined) throw new DaemonError("NotFound", identity(name), "not found");
			let labels = given;
			if (paths !== undefined && paths.length > 0) {
				labels = current.labels;
				for (const path of paths) {
					const key = keyIn("labels", path);
					if (key === undefined) throw notUpdatable(path, identity(name));
					labels = withEntry(labels, key, entryOf(given, key));
				}
			}
			labels = checkedLabels(labels, identity(name));
			table.put(tx, "", name, { labels });
			stageEvent(tx, name, "/namespaces/update", "containerd.events.NamespaceUpdate", NamespaceUpdate, {
				name,
				labels,
			});
			return { name, labels };
		});
	}

	/** Errors: NotFound; FailedPrecondition, with what is still inside. Leases do not count, they go with it. */
	async delete(name: string): Promise<void> {
		await this.#store.update((tx) => {
			if (table.get(tx, "", name) === undefined) throw new DaemonError("NotFound", identity(name), "not found");
			const inside = contents(tx, name);
			if (inside.length > 0) {
				const problem = `namespace must be empty, but it still has ${inside.join(", ")}`;
				throw new DaemonError("FailedPrecondition", identity(name), problem);
			}
			for (const gone of leaseContents) gone.clear(tx, name);
			table.remove(tx, "", name);
			stageEvent(tx, name, "/namespaces/delete", "containerd.events.NamespaceDelete", NamespaceDelete, { name });
		});
	}
}
