import type { BlobInfo, ByteRange, ContentStore, IngestStatus, WriterOptions } from "../content/content-store.ts";
import { type Digest, parseDigest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { ContentDelete } from "../gen/containerd/events/content.ts";
import { type FieldPaths, updatedLabels } from "./field-mask.ts";
import { mapField, parseFilters } from "./filter.ts";
import { checkedLabels, entryOf, type Labels } from "./labels.ts";
import { joinLease, leaveLease } from "./lease-membership.ts";
import { removing, type Swept } from "./left-over.ts";
import { NamespacedWriter } from "./namespaced-writer.ts";
import { ensureNamespace, namespaceLabels, namespaceNames } from "./namespaces.ts";
import { type Clock, type Scope, systemClock } from "./scope.ts";
import { backendName, sequence } from "./sequence.ts";
import { sharedStatus } from "./shared-ingest.ts";
import { stageEvent } from "./stage-event.ts";
import type { Reader, Store } from "./store/store.ts";
import { blobs, ingests, type StoredBlob, type StoredIngest } from "./tables.ts";
import { Turns } from "./turns.ts";

export type Blob = StoredBlob & { readonly digest: Digest };

export interface NamespacedContentOptions {
	readonly store: Store;
	/** The bytes, of all namespaces. */
	readonly backend: ContentStore;
	/**
	 * `shared`: whoever knows the digest of a blob that another namespace has, has it too. `isolated`: the bytes must be
	 * given, but for namespaces with the label `containerd.io/namespace.shareable=true`. Default shared.
	 */
	readonly policy?: "shared" | "isolated";
	readonly now?: Clock;
}

const shareableLabel = "containerd.io/namespace.shareable";
/** An ingest that no lease keeps is collected after this time. */
const ingestLifetime = 24n * 3600n * 1_000_000_000n;

/** Which blobs a namespace has, their labels, and its ingests (containerd: core/metadata/content.go). */
export class NamespacedContent {
	/** Whether the backend may hold what no namespace has. True at the start: a crash may have left something. */
	needsSweep = true;
	readonly #store: Store;
	readonly #backend: ContentStore;
	readonly #shared: boolean;
	readonly #now: Clock;
	readonly #nextNumber = sequence();
	/** By digest: a commit and the removal of the same bytes. */
	readonly #turns = new Turns();

	constructor({ store, backend, policy = "shared", now = systemClock }: NamespacedContentOptions) {
		this.#store = store;
		this.#backend = backend;
		this.#shared = policy === "shared";
		this.#now = now;
	}

	/** Errors: NotFound. */
	info(namespace: string, digest: Digest): Blob {
		return { digest, ...blobs.require(this.#store, namespace, digest) };
	}

	/** Those that one of the filters matches (digest, labels), by digest. */
	list(namespace: string, filters: readonly string[] = []): readonly Blob[] {
		const matches = parseFilters(filters);
		return blobs
			.list(this.#store, namespace)
			.map(([digest, blob]) => ({ digest, ...blob }))
			.filter(({ digest, labels }) =>
				matches(([first, ...rest]) => {
					if (first === "digest") return digest;
					return first === "labels" ? mapField(labels, rest) : undefined;
				}),
			);
	}

	/** Only labels can be updated. Errors: NotFound, InvalidArgument. */
	update(namespace: string, digest: Digest, labels: Labels, paths?: FieldPaths): Promise<Blob> {
		const identity = blobs.identity(namespace, digest);
		return this.#store.update((tx) => {
			const current = blobs.require(tx, namespace, digest);
			const next = checkedLabels(updatedLabels(current.labels, labels, paths, identity), identity);
			const blob = { ...current, labels: next, updatedAt: this.#now() };
			blobs.put(tx, namespace, digest, blob);
			return { digest, ...blob };
		});
	}

	/** The namespace loses the blob; its bytes go at the next collection. Errors: NotFound. */
	async delete(scope: Scope, digest: Digest): Promise<void> {
		const { namespace } = scope;
		await this.#store.update((tx) => {
			blobs.remove(tx, namespace, digest);
			leaveLease(tx, scope, { type: "content", id: digest });
			stageEvent(tx, namespace, "/content/delete", "containerd.events.ContentDelete", ContentDelete, { digest });
		});
		this.needsSweep = true;
	}

	/** Errors: NotFound at once; by the first chunk, OutOfRange. */
	read(namespace: string, digest: Digest, range?: ByteRange): AsyncIterable<Uint8Array> {
		blobs.require(this.#store, namespace, digest);
		return this.#backend.read(digest, range);
	}

	/** Errors: NotFound; ResourceExhausted if it is larger than `limit` bytes. */
	async readAll(namespace: string, digest: Digest, limit: number): Promise<Uint8Array> {
		blobs.require(this.#store, namespace, digest);
		return this.#backend.readAll(digest, limit);
	}

	/** Where the bytes are, for workers. Errors: NotFound. */
	path(namespace: string, digest: Digest): string {
		blobs.require(this.#store, namespace, digest);
		return this.#backend.path(digest);
	}

	/** Errors: NotFound. */
	async status(namespace: string, ref: string): Promise<IngestStatus> {
		const ingest = ingests.require(this.#store, namespace, ref);
		try {
			return { ...(await this.#backend.status(ingest.backendRef)), ref };
		} catch (reason) {
			if (ingest.shared === undefined || !isNotFound(reason)) throw reason;
			return sharedStatus(ref, ingest, ingest.shared);
		}
	}

	/** Those that one of the filters matches (ref), by ref. An ingest that ends meanwhile is left out. */
	async statuses(namespace: string, filters: readonly string[] = []): Promise<readonly IngestStatus[]> {
		const matches = parseFilters(filters);
		const refs = ingests
			.list(this.#store, namespace)
			.map(([ref]) => ref)
			.filter((ref) => matches(([first]) => (first === "ref" ? ref : undefined)));
		const found: IngestStatus[] = [];
		for (const ref of refs) {
			try {
				found.push(await this.status(namespace, ref));
			} catch (reason) {
				if (!isNotFound(reason)) throw reason;
			}
		}
		return found;
	}

	/** Forgets an ingest and its bytes. Errors: NotFound; Unavailable while a writer holds it. */
	async abort(scope: Scope, ref: string): Promise<void> {
		const { namespace } = scope;
		const { backendRef } = ingests.require(this.#store, namespace, ref);
		try {
			await this.#backend.abort(backendRef);
		} catch (reason) {
			if (!isNotFound(reason)) throw reason;
		}
		await this.#store.update((tx) => {
			if (ingests.get(tx, namespace, ref)?.backendRef !== backendRef) return;
			ingests.remove(tx, namespace, ref);
			leaveLease(tx, scope, { type: "ingests", id: ref });
		});
		this.needsSweep = true;
	}

	/**
	 * Opens the ingest of `ref`, new or as it was left.
	 * Errors: AlreadyExists if the namespace has `expected` (the blob joins the lease all the same); Unavailable if another
	 * writer holds the ref; InvalidArgument; NotFound for the lease.
	 */
	async writer(scope: Scope, ref: string, options: WriterOptions = {}): Promise<NamespacedWriter> {
		const { namespace } = scope;
		if (ref === "") throw new DaemonError("InvalidArgument", ingests.identity(namespace, ref), "ref must not be empty");
		const { expected } = options;
		if (expected === undefined) return this.#open(scope, ref, options, undefined);
		parseDigest(expected);
		return this.#turns.run(expected, async () => {
			const held = await this.#backendInfo(expected);
			if (blobs.get(this.#store, namespace, expected) !== undefined) {
				await this.#store.update((tx) => {
					// a blob whose bytes are lost (power cut, hands on the disk) can be fetched again
					if (held === undefined) blobs.remove(tx, namespace, expected);
					else joinLease(tx, scope, { type: "content", id: expected });
				});
				if (held !== undefined)
					throw new DaemonError("AlreadyExists", blobs.identity(namespace, expected), "already exists");
			}
			return this.#open(scope, ref, options, held);
		});
	}

	/** Removes from the backend what no namespace has. Ingests that a writer holds, and whatever fails, are left over. */
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
		const swept: Swept & { removed: string[] } & { left: Swept["left"][number][] } = { removed: [], left: [] };
		for await (const { digest } of this.#backend.walk()) {
			signal?.throwIfAborted();
			if (this.#isKept(digest)) continue;
			const remove = async (): Promise<void> => {
				if (!this.#isKept(digest))
					await removing(swept, { kind: "content", id: digest }, () => this.#backend.delete(digest));
			};
			await this.#turns.run(digest, remove);
		}
		const refs = new Set(this.#allIngests().map(({ backendRef }) => backendRef));
		for (const { ref } of await this.#backend.statuses()) {
			signal?.throwIfAborted();
			// one that was opened after the set was made
			if (refs.has(ref) || this.#allIngests().some(({ backendRef }) => backendRef === ref)) continue;
			await removing(swept, { kind: "ingest", id: ref }, () => this.#backend.abort(ref));
		}
		return swept;
	}

	async #open(
		scope: Scope,
		ref: string,
		options: WriterOptions,
		held: BlobInfo | undefined,
	): Promise<NamespacedWriter> {
		const { namespace } = scope;
		const { total = 0 } = options;
		const ingest = await this.#store.update((tx): StoredIngest => {
			ensureNamespace(tx, namespace);
			const leased = joinLease(tx, scope, { type: "ingests", id: ref });
			const now = this.#now();
			const known = ingests.get(tx, namespace, ref);
			const mayShare = held !== undefined && (total === 0 || total === held.size) && this.#mayShare(tx, held.digest);
			const opened: StoredIngest = {
				backendRef: known?.backendRef ?? backendName(namespace, this.#nextNumber(), ref),
				startedAt: known?.startedAt ?? now,
				...(mayShare ? { shared: { digest: held.digest, size: held.size } } : {}),
				...(leased ? {} : { expiresAt: now + ingestLifetime }),
			};
			ingests.put(tx, namespace, ref, opened);
			return opened;
		});
		const writer = new NamespacedWriter({
			scope,
			ref,
			ingest,
			store: this.#store,
			backend: this.#backend,
			turns: this.#turns,
			now: this.#now,
			onLeftOver: () => {
				this.needsSweep = true;
			},
			// the backend would refuse what it has; a namespace that may not share must bring the bytes
			options: held === undefined ? options : { ...options, expected: undefined },
		});
		if (ingest.shared === undefined) await writer.open();
		return writer;
	}

	#mayShare(reader: Reader, digest: Digest): boolean {
		if (this.#shared) return true;
		return namespaceNames(reader).some(
			(name) =>
				entryOf(namespaceLabels(reader, name), shareableLabel) === "true" &&
				blobs.get(reader, name, digest) !== undefined,
		);
	}

	#isKept(digest: Digest): boolean {
		if (namespaceNames(this.#store).some((name) => blobs.get(this.#store, name, digest) !== undefined)) return true;
		return this.#allIngests().some(({ shared }) => shared?.digest === digest);
	}

	#allIngests(): readonly StoredIngest[] {
		return namespaceNames(this.#store).flatMap((name) => ingests.list(this.#store, name).map(([, ingest]) => ingest));
	}

	async #backendInfo(digest: Digest): Promise<BlobInfo | undefined> {
		try {
			return await this.#backend.info(digest);
		} catch (reason) {
			if (isNotFound(reason)) return undefined;
			throw reason;
		}
	}
}

const isNotFound = (reason: unknown): boolean => reason instanceof DaemonError && reason.code === "NotFound";
