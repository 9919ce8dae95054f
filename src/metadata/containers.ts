import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { ContainerCreate, ContainerDelete, ContainerUpdate } from "../gen/containerd/events/container.ts";
import { type FieldPaths, keyIn, notUpdatable } from "./field-mask.ts";
import { mapField, parseFilters, textField } from "./filter.ts";
import { identifier } from "./identifier.ts";
import { checkedLabels, entryOf, withEntry } from "./labels.ts";
import { ensureNamespace } from "./namespaces.ts";
import { type AnyValue, type Clock, systemClock } from "./scope.ts";
import { stageEvent } from "./stage-event.ts";
import type { Store, Transaction } from "./store/store.ts";
import { type StoredContainer, containers as table } from "./tables.ts";

export type Container = StoredContainer & { readonly id: string };

/** A container as a client gives it: times are the store's business. */
export type ContainerDraft = Omit<Container, "createdAt" | "updatedAt" | "spec"> & {
	readonly spec: AnyValue | undefined;
};

/** What an update without paths replaces. Snapshotter and runtime name never change. */
const replaceable = ["labels", "spec", "extensions", "image", "snapshotkey"] as const;

/** Containers as metadata: what to run, not whether it runs (containerd: core/metadata/containers.go). */
export class ContainerStore {
	readonly #store: Store;
	readonly #now: Clock;

	constructor(store: Store, now: Clock = systemClock) {
		this.#store = store;
		this.#now = now;
	}

	/** Errors: NotFound. */
	get(namespace: string, id: string): Container {
		return { id, ...table.require(this.#store, namespace, id) };
	}

	/** Those that one of the filters matches (id, image, runtime.name, labels), by id. Errors: InvalidArgument. */
	list(namespace: string, filters: readonly string[] = []): readonly Container[] {
		const matches = parseFilters(filters);
		return table
			.list(this.#store, namespace)
			.map(([id, container]) => ({ id, ...container }))
			.filter((container) => matches((path) => fieldOf(container, path)));
	}

	/** Errors: AlreadyExists, InvalidArgument. */
	create(namespace: string, draft: ContainerDraft): Promise<Container> {
		return this.#store.update((tx) => {
			const createdAt = this.#now();
			const container = validated(namespace, { ...draft, createdAt, updatedAt: createdAt });
			ensureNamespace(tx, namespace);
			table.insert(tx, namespace, container.id, withoutId(container));
			const { id, image, runtime } = container;
			stageEvent(tx, namespace, "/containers/create", "containerd.events.ContainerCreate", ContainerCreate, {
				id,
				image,
				runtime: { name: runtime.name, options: runtime.options },
			});
			return container;
		});
	}

	/** Replaces the fields that the paths name, else the replaceable ones. Errors: NotFound, InvalidArgument. */
	update(namespace: string, next: ContainerDraft, paths?: FieldPaths): Promise<Container> {
		return this.#store.update((tx) => {
			const current = { id: next.id, ...table.require(tx, namespace, next.id) };
			const container = validated(namespace, { ...masked(namespace, current, next, paths), updatedAt: this.#now() });
			table.put(tx, namespace, container.id, withoutId(container));
			const { id, image, labels, snapshotKey } = container;
			stageEvent(tx, namespace, "/containers/update", "containerd.events.ContainerUpdate", ContainerUpdate, {
				id,
				image,
				labels,
				snapshotKey,
			});
			return container;
		});
	}

	/** Neither its task nor its snapshot is touched. Errors: NotFound. */
	delete(namespace: string, id: string): Promise<void> {
		return this.#store.update((tx) => deleteContainer(tx, namespace, id));
	}
}

/** For whoever deletes a container together with something else. Errors: NotFound. */
export function deleteContainer(transaction: Transaction, namespace: string, id: string): void {
	table.remove(transaction, namespace, id);
	stageEvent(transaction, namespace, "/containers/delete", "containerd.events.ContainerDelete", ContainerDelete, {
		id,
	});
}

type Unchecked = Omit<Container, "spec"> & { readonly spec: AnyValue | undefined };

function masked(namespace: string, current: Container, next: ContainerDraft, paths: FieldPaths): Unchecked {
	const identity = table.identity(namespace, next.id);
	let result: Unchecked = current;
	if (paths === undefined || paths.length === 0) {
		if (current.snapshotter !== next.snapshotter) throw invalid(identity, "container.Snapshotter field is immutable");
		if (current.runtime.name !== next.runtime.name)
			throw invalid(identity, "container.Runtime.Name field is immutable");
	}
	for (const path of paths === undefined || paths.length === 0 ? replaceable : paths) {
		const label = keyIn("labels", path);
		const extension = keyIn("extensions", path);
		if (label !== undefined)
			result = { ...result, labels: withEntry(result.labels, label, entryOf(next.labels, label)) };
		else if (extension !== undefined) {
			const extensions = withEntry(result.extensions, extension, entryOf(next.extensions, extension));
			result = { ...result, extensions };
		} else result = { ...result, ...field(path, next, identity) };
	}
	return result;
}

function field(path: string, next: ContainerDraft, identity: ObjectIdentity): Partial<Unchecked> {
	switch (path) {
		case "labels":
			return { labels: next.labels };
		case "spec":
			return { spec: next.spec };
		case "extensions":
			return { extensions: next.extensions };
		case "image":
			return { image: next.image };
		case "snapshotkey":
		case "snapshot_key":
			return { snapshotKey: next.snapshotKey };
		default:
			throw notUpdatable(path, identity);
	}
}

function validated(namespace: string, container: Unchecked): Container {
	const identity = table.identity(namespace, identifier("container", container.id));
	const { spec, runtime, snapshotter, snapshotKey, extensions } = container;
	if (Object.hasOwn(extensions, "")) throw invalid(identity, "container.Extension keys must not be zero-length");
	const labels = checkedLabels(container.labels, identity);
	if (runtime.name === "") throw invalid(identity, "container.Runtime.Name must be set");
	if (spec === undefined) throw invalid(identity, "container.Spec must be set");
	if (snapshotKey !== "" && snapshotter === "")
		throw invalid(identity, "container.Snapshotter must be set if container.SnapshotKey is set");
	return { ...container, spec, labels };
}

const invalid = (identity: ObjectIdentity, problem: string): DaemonError =>
	new DaemonError("InvalidArgument", identity, problem);

const withoutId = ({ id: _, ...stored }: Container): StoredContainer => stored;

function fieldOf({ id, image, runtime, labels }: Container, [first, ...rest]: readonly string[]): string | undefined {
	switch (first) {
		case "id":
			return id;
		case "image":
			return textField(image);
		case "runtime":
			return rest[0] === "name" ? textField(runtime.name) : undefined;
		case "labels":
			return mapField(labels, rest);
		default:
			return undefined;
	}
}
