import { DaemonError } from "../errors/daemon-error.ts";
import { mapField, parseFilters } from "./filter.ts";
import { checkedLabels, type Labels } from "./labels.ts";
import {
	checkedResource,
	forgetResources,
	joinLease,
	type LeaseResource,
	leaveLease,
	resourcesOf,
} from "./lease-membership.ts";
import { ensureNamespace } from "./namespaces.ts";
import { type Clock, systemClock } from "./scope.ts";
import type { Store, Transaction } from "./store/store.ts";
import { type StoredLease, leases as table } from "./tables.ts";

export type Lease = StoredLease & { readonly id: string };

/**
 * Leases keep content, snapshots, ingests and expiring images alive while someone works with them (containerd:
 * core/metadata/leases.go). Labels: `containerd.io/gc.expire` (RFC 3339) ends one, `containerd.io/gc.flat` keeps its
 * resources but not what they refer to.
 */
export class LeaseStore {
	readonly #store: Store;
	readonly #now: Clock;
	readonly #listeners = new Set<() => void>();

	constructor(store: Store, now: Clock = systemClock) {
		this.#store = store;
		this.#now = now;
	}

	/** Told after each deletion of a lease or of a resource: no event tells of them. Returns the unsubscribe function. */
	watchDeletions(listener: () => void): () => void {
		const own = (): void => listener();
		this.#listeners.add(own);
		return () => this.#listeners.delete(own);
	}

	/** Errors: AlreadyExists, InvalidArgument. */
	create(namespace: string, { id, labels }: { readonly id: string; readonly labels: Labels }): Promise<Lease> {
		const identity = table.identity(namespace, id);
		return this.#store.update((tx) => {
			if (id === "") throw new DaemonError("InvalidArgument", identity, "lease id must be provided");
			const lease = { labels: checkedLabels(labels, identity), createdAt: this.#now() };
			ensureNamespace(tx, namespace);
			table.insert(tx, namespace, id, lease);
			return { id, ...lease };
		});
	}

	/** What it alone kept goes at the next collection. Errors: NotFound. */
	async delete(namespace: string, id: string): Promise<void> {
		await this.#store.update((tx) => deleteLease(tx, namespace, id));
		for (const listener of this.#listeners) listener();
	}

	/** Those that one of the filters matches (id, labels), by id. */
	list(namespace: string, filters: readonly string[] = []): readonly Lease[] {
		const matches = parseFilters(filters);
		return table
			.list(this.#store, namespace)
			.map(([id, lease]) => ({ id, ...lease }))
			.filter(({ id, labels }) =>
				matches(([first, ...rest]) => {
					if (first === "id") return id;
					return first === "labels" ? mapField(labels, rest) : undefined;
				}),
			);
	}

	/** Errors: NotFound for the lease, InvalidArgument, Unimplemented for a type nobody knows. */
	async addResource(namespace: string, lease: string, resource: LeaseResource): Promise<void> {
		await this.#store.update((tx) => {
			table.require(tx, namespace, lease);
			joinLease(tx, { namespace, lease }, checkedResource(lease, resource));
		});
	}

	/** A resource that it does not have is no error. Errors: NotFound for the lease, InvalidArgument, Unimplemented. */
	async deleteResource(namespace: string, lease: string, resource: LeaseResource): Promise<void> {
		await this.#store.update((tx) => {
			table.require(tx, namespace, lease);
			leaveLease(tx, { namespace, lease }, checkedResource(lease, resource));
		});
		for (const listener of this.#listeners) listener();
	}

	/** Errors: NotFound. */
	listResources(namespace: string, lease: string): readonly LeaseResource[] {
		table.require(this.#store, namespace, lease);
		return resourcesOf(this.#store, namespace, lease);
	}
}

/** Errors: NotFound. */
export function deleteLease(transaction: Transaction, namespace: string, id: string): void {
	table.remove(transaction, namespace, id);
	forgetResources(transaction, namespace, id);
}
