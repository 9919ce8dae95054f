import { isDigest } from "../content/digest.ts";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { ImageCreate, ImageDelete, ImageUpdate } from "../gen/containerd/events/image.ts";
import { type FieldPaths, keyIn, notUpdatable } from "./field-mask.ts";
import { mapField, parseFilters } from "./filter.ts";
import { expireLabel } from "./gc/expiry.ts";
import { checkedLabels, entryOf, withEntry } from "./labels.ts";
import { joinLease, leaveLease } from "./lease-membership.ts";
import { ensureNamespace } from "./namespaces.ts";
import { type Clock, type Scope, systemClock } from "./scope.ts";
import { stageEvent } from "./stage-event.ts";
import type { Store, Transaction } from "./store/store.ts";
import { type StoredImage, images as table } from "./tables.ts";

export type Image = StoredImage & { readonly name: string };
export type ImageDraft = Omit<Image, "createdAt" | "updatedAt">;

export interface ImageTimes {
	/** Reproducible builds: the time to store instead of now, in nanoseconds since 1970 (SOURCE_DATE_EPOCH). */
	readonly epoch?: bigint | undefined;
}

/** Names of images and what they stand for (containerd: core/metadata/images.go). Names are any text. */
export class ImageStore {
	readonly #store: Store;
	readonly #now: Clock;

	constructor(store: Store, now: Clock = systemClock) {
		this.#store = store;
		this.#now = now;
	}

	/** Errors: NotFound. */
	get(namespace: string, name: string): Image {
		return { name, ...table.require(this.#store, namespace, name) };
	}

	/** Those that one of the filters matches (name, target.digest, target.mediatype, labels, annotations), by name. */
	list(namespace: string, filters: readonly string[] = []): readonly Image[] {
		const matches = parseFilters(filters);
		return table
			.list(this.#store, namespace)
			.map(([name, image]) => ({ name, ...image }))
			.filter((image) => matches((path) => fieldOf(image, path)));
	}

	/** Errors: AlreadyExists, InvalidArgument; NotFound for the lease. */
	create(scope: Scope, draft: ImageDraft, { epoch }: ImageTimes = {}): Promise<Image> {
		const { namespace } = scope;
		return this.#store.update((tx) => {
			const createdAt = epoch ?? this.#now();
			const image = validated(namespace, { ...draft, createdAt, updatedAt: createdAt });
			ensureNamespace(tx, namespace);
			lease(tx, scope, image);
			table.insert(tx, namespace, image.name, withoutName(image));
			const { name, labels } = image;
			stageEvent(tx, namespace, "/images/create", "containerd.services.images.v1.ImageCreate", ImageCreate, {
				name,
				labels,
			});
			return image;
		});
	}

	/**
	 * Replaces labels and target, or what the paths name (`labels`, `labels.<key>`, `target`, `annotations`,
	 * `annotations.<key>`). Errors: NotFound, InvalidArgument.
	 */
	update(scope: Scope, next: ImageDraft, paths?: FieldPaths, { epoch }: ImageTimes = {}): Promise<Image> {
		const { namespace } = scope;
		return this.#store.update((tx) => {
			const current = { name: next.name, ...table.require(tx, namespace, next.name) };
			const changed = masked(current, next, paths, table.identity(namespace, next.name));
			const image = validated(namespace, { ...changed, updatedAt: epoch ?? this.#now() });
			lease(tx, scope, image);
			table.put(tx, namespace, image.name, withoutName(image));
			const { name, labels } = image;
			stageEvent(tx, namespace, "/images/update", "containerd.services.images.v1.ImageUpdate", ImageUpdate, {
				name,
				labels,
			});
			return image;
		});
	}

	/** Deletes the name; bytes go at the next collection. NotFound also if it stands for another digest than `target`. */
	delete(scope: Scope, name: string, target?: string): Promise<void> {
		const { namespace } = scope;
		return this.#store.update((tx) => {
			const { digest } = table.require(tx, namespace, name).target;
			if (target !== undefined && target !== "" && target !== digest)
				throw new DaemonError("NotFound", table.identity(namespace, name), `has target ${digest}, not ${target}`);
			leaveLease(tx, scope, { type: "images", id: name });
			deleteImage(tx, namespace, name);
		});
	}
}

/** Errors: NotFound. */
export function deleteImage(transaction: Transaction, namespace: string, name: string): void {
	table.remove(transaction, namespace, name);
	const message = "containerd.services.images.v1.ImageDelete";
	stageEvent(transaction, namespace, "/images/delete", message, ImageDelete, { name });
}

/** Only an image that can expire needs a lease: others are roots. */
function lease(transaction: Transaction, scope: Scope, { name, labels }: Image): void {
	if (entryOf(labels, expireLabel) !== undefined) joinLease(transaction, scope, { type: "images", id: name });
}

function masked(current: Image, next: ImageDraft, paths: FieldPaths, identity: ObjectIdentity): Image {
	if (paths === undefined || paths.length === 0) return { ...current, labels: next.labels, target: next.target };
	let result = current;
	const annotated = (annotations: Image["target"]["annotations"]): Image => ({
		...result,
		target: { ...result.target, annotations },
	});
	for (const path of paths) {
		const label = keyIn("labels", path);
		const annotation = keyIn("annotations", path);
		if (label !== undefined)
			result = { ...result, labels: withEntry(result.labels, label, entryOf(next.labels, label)) };
		else if (annotation !== undefined) {
			const value = entryOf(next.target.annotations, annotation);
			result = annotated(withEntry(result.target.annotations, annotation, value));
		} else if (path === "labels") result = { ...result, labels: next.labels };
		else if (path === "target") result = { ...result, target: next.target };
		else if (path === "annotations") result = annotated(next.target.annotations);
		else throw notUpdatable(path, identity);
	}
	return result;
}

function validated(namespace: string, image: Image): Image {
	const identity = table.identity(namespace, image.name);
	const invalid = (problem: string) => new DaemonError("InvalidArgument", identity, problem);
	if (image.name === "") throw invalid("image name must not be empty");
	const labels = checkedLabels(image.labels, identity);
	const { digest, size, mediaType } = image.target;
	if (!isDigest(digest)) throw invalid(`target.Digest "${digest}" invalid`);
	if (size <= 0) throw invalid("target.Size must be greater than zero");
	if (mediaType === "") throw invalid("target.MediaType must be set");
	return { ...image, labels };
}

const withoutName = ({ name: _, ...stored }: Image): StoredImage => stored;

function fieldOf({ name, target, labels }: Image, [first, ...rest]: readonly string[]): string | undefined {
	switch (first) {
		case "name":
			return name;
		case "target":
			if (rest[0] === "digest") return target.digest;
			return rest[0] === "mediatype" ? target.mediaType : undefined;
		case "labels":
			return mapField(labels, rest);
		case "annotations":
			return mapField(target.annotations, rest);
		default:
			return undefined;
	}
}
