import { randomBytes } from "node:crypto";
import type {
	BlobIngest,
	FilledSnapshot,
	ImageLease,
	ImageStorage,
	Labels,
	NamespaceStorage,
} from "../../actors/images/image-storage.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { Descriptor } from "../content/descriptor.ts";
import type { Digest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import type { NamespacedContent } from "../metadata/content.ts";
import type { Image, ImageStore } from "../metadata/images.ts";
import type { LeaseStore } from "../metadata/leases.ts";
import type { Scope } from "../metadata/scope.ts";
import type { SnapshotStore } from "../metadata/snapshots.ts";
import { type ExtractionTarget, extractionTarget } from "../snapshots/extraction-target.ts";

export interface StoredImagesParts {
	readonly content: NamespacedContent;
	/** The bytes behind `content`: to notice a blob whose bytes were lost. */
	readonly blobs: ContentStore;
	readonly images: ImageStore;
	readonly leases: LeaseStore;
	/** Errors: InvalidArgument for an unknown name. */
	readonly snapshotter: (name: string) => { readonly snapshots: SnapshotStore; readonly rebase: boolean };
	/** Milliseconds since 1970. */
	readonly now?: () => number;
}

/** As containerd's client: a pull that dies leaves its lease for a day. */
const leaseMs = 24 * 3_600_000;
const expireLabel = "containerd.io/gc.expire";

/** Where pulls put images: the metadata stores of the daemon. */
export class StoredImages implements ImageStorage {
	readonly #parts: StoredImagesParts;

	constructor(parts: StoredImagesParts) {
		this.#parts = parts;
	}

	async lease(namespace: string): Promise<ImageLease> {
		const { leases, now = Date.now } = this.#parts;
		const id = `pull-${now()}-${randomBytes(4).toString("hex")}`;
		await leases.create(namespace, { id, labels: { [expireLabel]: new Date(now() + leaseMs).toISOString() } });
		return { id, release: () => leases.delete(namespace, id) };
	}

	open(namespace: string, snapshotter: string, lease: string): NamespaceStorage {
		return new StoredNamespace(this.#parts, { namespace, lease }, snapshotter);
	}
}

class StoredNamespace implements NamespaceStorage {
	readonly #parts: StoredImagesParts;
	readonly #scope: Scope & { readonly lease: string };
	readonly #snapshotter: string;

	constructor(parts: StoredImagesParts, scope: Scope & { readonly lease: string }, snapshotter: string) {
		this.#parts = parts;
		this.#scope = scope;
		this.#snapshotter = snapshotter;
	}

	async blob(digest: Digest): Promise<{ readonly labels: Labels } | undefined> {
		const { content, blobs } = this.#parts;
		const known = await orNotFound(async () => {
			await blobs.info(digest);
			return content.info(this.#scope.namespace, digest);
		});
		if (known !== undefined) await this.#keep("content", digest);
		return known;
	}

	readBlob(digest: Digest, limit: number): Promise<Uint8Array> {
		return this.#parts.content.readAll(this.#scope.namespace, digest, limit);
	}

	blobPath(digest: Digest): string {
		return this.#parts.content.path(this.#scope.namespace, digest);
	}

	async labelBlob(digest: Digest, labels: Labels): Promise<void> {
		const paths = Object.keys(labels).map((name) => `labels.${name}`);
		if (paths.length > 0) await this.#parts.content.update(this.#scope.namespace, digest, labels, paths);
	}

	async ingest(
		ref: string,
		{ digest, size }: Pick<Descriptor, "digest" | "size">,
		signal: AbortSignal,
	): Promise<BlobIngest> {
		const writer = await this.#parts.content.writer(this.#scope, ref, { total: size, expected: digest, signal });
		return {
			get offset() {
				return writer.offset;
			},
			get path() {
				return writer.path;
			},
			write: (chunks) => writer.write(chunks),
			truncate: (bytes) => writer.truncate(bytes),
			commit: async (options) => void (await writer.commit(options)),
			close: () => writer.close(),
			discard: () => writer.discard(),
		};
	}

	async ingestOffset(ref: string): Promise<number> {
		const status = await orNotFound(() => this.#parts.content.status(this.#scope.namespace, ref));
		return status?.offset ?? 0;
	}

	async abortIngest(ref: string): Promise<void> {
		await orNotFound(() => this.#parts.content.abort(this.#scope, ref));
	}

	get rebase(): boolean {
		return this.#parts.snapshotter(this.#snapshotter).rebase;
	}

	async hasSnapshot(name: string): Promise<boolean> {
		const known = await orNotFound(async () => this.#snapshots.stat(this.#scope.namespace, name));
		if (known?.kind !== "committed") return false;
		await this.#keep(`snapshots/${this.#snapshotter}`, name);
		return true;
	}

	async prepareExtraction(key: string, parent: string, labels: Labels): Promise<ExtractionTarget> {
		const target = extractionTarget(await this.#snapshots.prepare(this.#scope, key, parent, labels));
		if (target !== undefined) return target;
		await this.removeExtraction(key);
		const problem = "layers can be unpacked into overlayfs snapshots only";
		throw new DaemonError("Unimplemented", { kind: "snapshotter", id: this.#snapshotter }, problem);
	}

	async commitExtraction(
		name: string,
		key: string,
		parent: string,
		labels: Labels,
		filled: FilledSnapshot,
	): Promise<void> {
		await this.#snapshots.commit(this.#scope, name, key, {
			...filled,
			labels,
			...(this.rebase && parent !== "" ? { parent } : {}),
		});
	}

	/** With its files: a full disk must not wait for the collector. */
	async removeExtraction(key: string): Promise<void> {
		await orNotFound(() => this.#snapshots.remove(this.#scope, key));
		await this.#snapshots.sweep();
	}

	async recordImage(name: string, { mediaType, digest, size, annotations = {} }: Descriptor): Promise<Image> {
		const { images } = this.#parts;
		const target = { mediaType, digest, size, annotations };
		try {
			return await images.create(this.#scope, { name, target, labels: {} });
		} catch (reason) {
			if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists") throw reason;
			return await images.update(this.#scope, { name, target, labels: {} }, ["target"]);
		}
	}

	get #snapshots(): SnapshotStore {
		return this.#parts.snapshotter(this.#snapshotter).snapshots;
	}

	async #keep(type: string, id: string): Promise<void> {
		await this.#parts.leases.addResource(this.#scope.namespace, this.#scope.lease, { type, id });
	}
}

/** Undefined instead of NotFound. */
async function orNotFound<T>(find: () => T | Promise<T>): Promise<T | undefined> {
	try {
		return await find();
	} catch (reason) {
		if (reason instanceof DaemonError && reason.code === "NotFound") return undefined;
		throw reason;
	}
}
