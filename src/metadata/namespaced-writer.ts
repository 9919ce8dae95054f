import type {
	CommitOptions,
	ContentStore,
	ContentWriter,
	IngestStatus,
	WriterOptions,
} from "../content/content-store.ts";
import type { Digest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { ContentCreate } from "../gen/containerd/events/content.ts";
import type { Blob } from "./content.ts";
import { checkedLabels, type Labels } from "./labels.ts";
import { joinLease, leaveLease } from "./lease-membership.ts";
import { ensureNamespace } from "./namespaces.ts";
import type { Clock, Scope } from "./scope.ts";
import { sharedStatus } from "./shared-ingest.ts";
import { stageEvent } from "./stage-event.ts";
import type { Store } from "./store/store.ts";
import { blobs, ingests, type StoredIngest } from "./tables.ts";
import type { Turns } from "./turns.ts";

export interface NamespacedWriterParts {
	readonly scope: Scope;
	readonly ref: string;
	readonly ingest: StoredIngest;
	readonly store: Store;
	readonly backend: ContentStore;
	/** By digest. */
	readonly turns: Turns;
	readonly now: Clock;
	/** The backend may now hold what no namespace has. */
	readonly onLeftOver: () => void;
	readonly options: { readonly [Name in keyof WriterOptions]: WriterOptions[Name] | undefined };
}

export interface NamespacedCommitOptions extends CommitOptions {
	/** Stored with the blob in one transaction: this is how gc labels land without a gap. */
	readonly labels?: Labels;
}

/** The writer of a namespace's ingest. Of a shared ingest it has all bytes from the start, and copies them only if changed. */
export class NamespacedWriter implements Omit<ContentWriter, "commit"> {
	readonly ref: string;
	readonly #parts: NamespacedWriterParts;
	/** Undefined as long as the bytes are those of another namespace. */
	#inner: ContentWriter | undefined;

	constructor(parts: NamespacedWriterParts) {
		this.ref = parts.ref;
		this.#parts = parts;
	}

	/** Opens the ingest in the backend, at the end of what it holds. */
	async open(): Promise<ContentWriter> {
		const { backend, ingest, options } = this.#parts;
		const { total, expected, signal } = options;
		this.#inner ??= await backend.writer(ingest.backendRef, {
			...(total === undefined ? {} : { total }),
			...(expected === undefined ? {} : { expected }),
			...(signal === undefined ? {} : { signal }),
		});
		return this.#inner;
	}

	get offset(): number {
		return this.#inner?.offset ?? this.#shared.size;
	}

	get path(): string {
		return this.#inner?.path ?? this.#parts.backend.path(this.#shared.digest);
	}

	status(): IngestStatus {
		if (this.#inner === undefined) return sharedStatus(this.ref, this.#parts.ingest, this.#shared);
		return { ...this.#inner.status(), ref: this.ref };
	}

	digest(): Digest {
		return this.#inner?.digest() ?? this.#shared.digest;
	}

	async write(chunks: Uint8Array | readonly Uint8Array[]): Promise<void> {
		const empty = chunks instanceof Uint8Array ? chunks.length === 0 : chunks.every(({ length }) => length === 0);
		if (empty) return;
		const inner = this.#inner ?? (await this.#copy(this.#shared.size));
		await inner.write(chunks);
	}

	async truncate(size: number): Promise<void> {
		if (this.#inner !== undefined) return this.#inner.truncate(size);
		if (size > this.#shared.size) throw new DaemonError("OutOfRange", this.#identity, `has ${this.#shared.size} bytes`);
		await this.#copy(size);
		return undefined;
	}

	/**
	 * Makes the ingest a blob of the namespace. Errors: FailedPrecondition for a wrong size or digest; AlreadyExists if the
	 * namespace had it before (the ingest is gone, the blob has joined the lease); InvalidArgument for a label.
	 */
	async commit({ labels = {}, ...options }: NamespacedCommitOptions = {}): Promise<Blob> {
		const { turns, store, scope, now } = this.#parts;
		const { namespace } = scope;
		const digest = this.digest();
		return turns.run(digest, async () => {
			const checked = await this.#checked(labels, digest);
			const size = await this.#commitBytes(digest, options);
			// another writer of the ref may have written bytes of its own before
			if (this.#inner === undefined) this.#parts.onLeftOver();
			const { existed, blob } = await this.#orLeftOver(() =>
				store.update((tx) => {
					ensureNamespace(tx, namespace);
					if (ingests.get(tx, namespace, this.ref)?.backendRef === this.#parts.ingest.backendRef)
						ingests.remove(tx, namespace, this.ref);
					leaveLease(tx, scope, { type: "ingests", id: this.ref });
					joinLease(tx, scope, { type: "content", id: digest });
					const before = blobs.get(tx, namespace, digest);
					if (before !== undefined) return { existed: true, blob: before };
					const createdAt = now();
					const fresh = { labels: checked, size, createdAt, updatedAt: createdAt };
					blobs.put(tx, namespace, digest, fresh);
					const message = { digest, size: BigInt(size) };
					stageEvent(tx, namespace, "/content/create", "containerd.events.ContentCreate", ContentCreate, message);
					return { existed: false, blob: fresh };
				}),
			);
			if (existed) throw new DaemonError("AlreadyExists", blobs.identity(namespace, digest), "already exists");
			return { digest, ...blob };
		});
	}

	async close(): Promise<void> {
		await this.#inner?.close();
	}

	async discard(): Promise<void> {
		const { store, scope, ingest } = this.#parts;
		await this.#inner?.discard();
		await store.update((tx) => {
			if (ingests.get(tx, scope.namespace, this.ref)?.backendRef !== ingest.backendRef) return;
			ingests.remove(tx, scope.namespace, this.ref);
			leaveLease(tx, scope, { type: "ingests", id: this.ref });
		});
	}

	async #orLeftOver<T>(act: () => Promise<T>): Promise<T> {
		try {
			return await act();
		} catch (reason) {
			this.#parts.onLeftOver();
			throw reason;
		}
	}

	/** A commit that is refused closes the writer, whatever the reason. */
	async #checked(labels: Labels, digest: Digest): Promise<Labels> {
		try {
			return checkedLabels(labels, blobs.identity(this.#parts.scope.namespace, digest));
		} catch (reason) {
			await this.close();
			throw reason;
		}
	}

	/** The backend may have the bytes from another namespace: that is no error here. */
	async #commitBytes(digest: Digest, options: CommitOptions): Promise<number> {
		const inner = this.#inner;
		if (inner === undefined) {
			const { size } = this.#shared;
			if (options.size !== undefined && options.size !== 0 && options.size !== size)
				throw new DaemonError(
					"FailedPrecondition",
					this.#identity,
					`failed size validation: ${size} != ${options.size}`,
				);
			if (options.expected !== undefined && options.expected !== digest)
				throw new DaemonError("FailedPrecondition", this.#identity, `unexpected digest ${digest}`);
			return size;
		}
		const { offset } = inner;
		try {
			await inner.commit(options);
		} catch (reason) {
			if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists") throw reason;
		}
		return offset;
	}

	/** From here on the namespace writes bytes of its own. */
	async #copy(size: number): Promise<ContentWriter> {
		const { backend } = this.#parts;
		const inner = await this.open();
		await inner.truncate(0);
		if (size > 0)
			for await (const chunk of backend.read(this.#shared.digest, { length: size })) await inner.write(chunk);
		return inner;
	}

	get #shared(): { readonly digest: Digest; readonly size: number } {
		const { shared } = this.#parts.ingest;
		if (shared === undefined) throw new DaemonError("FailedPrecondition", this.#identity, "the ingest is not open");
		return shared;
	}

	get #identity() {
		return ingests.identity(this.#parts.scope.namespace, this.ref);
	}
}
