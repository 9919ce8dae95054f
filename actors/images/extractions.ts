import { DaemonError } from "../../src/errors/daemon-error.ts";
import { contentLabels } from "./content-labels.ts";
import type { LayerPlan } from "./image-repository.ts";
import type { FilledSnapshot, Labels, NamespaceStorage } from "./image-storage.ts";
import type { LeaseShare } from "./pull-leases.ts";

/** A layer that is extracted and not yet part of a chain. */
export interface Extraction {
	/** Key of the active snapshot. */
	readonly key: string;
	readonly filled: FilledSnapshot;
	readonly storage: NamespaceStorage;
	/** Keeps the snapshot and its blob until it is committed or removed. */
	readonly lease: LeaseShare;
}

interface Chain {
	/** Pulls that may commit it. */
	readonly owners: Set<object>;
	extraction?: Extraction;
	committing?: Promise<void>;
	readonly waiting: Set<() => void>;
}

const snapshotLabel = "containerd.io/snapshot/";

/**
 * Extracted layers on their way to the pulls that commit them, in the order of the chain. The first of several pulls
 * commits; what nobody wants any more is removed. A key names namespace, snapshotter and chain ID.
 */
export class Extractions {
	readonly #chains = new Map<string, Chain>();

	/** The owner will commit this chain, or let it go by {@link release}. */
	claim(key: string, owner: object): void {
		this.#chainOf(key).owners.add(owner);
	}

	/** Hands over an extraction; it is removed at once if nobody claims it. */
	async put(key: string, extraction: Extraction): Promise<void> {
		const chain = this.#chains.get(key);
		if (chain === undefined) return await remove(extraction);
		chain.extraction = extraction;
	}

	/** Makes the layer's snapshot, unless it exists. Errors: Aborted if the extraction is gone; those of the storage. */
	async commit(key: string, layer: LayerPlan, storage: NamespaceStorage): Promise<void> {
		const chain = this.#chainOf(key);
		chain.committing ??= this.#commit(chain, layer, storage).finally(() => {
			delete chain.committing;
		});
		await chain.committing;
		for (const wake of chain.waiting) wake();
	}

	/** Resolves when the chain's snapshot exists. Rejects with the signal's reason. */
	async committed(key: string, name: string, storage: NamespaceStorage, signal: AbortSignal): Promise<void> {
		const { waiting } = this.#chainOf(key);
		while (!(await storage.hasSnapshot(name))) {
			signal.throwIfAborted();
			await new Promise<void>((resolve, reject) => {
				const wake = (): void => {
					signal.removeEventListener("abort", onAbort);
					waiting.delete(wake);
					resolve();
				};
				const onAbort = (): void => {
					waiting.delete(wake);
					reject(signal.reason);
				};
				waiting.add(wake);
				signal.addEventListener("abort", onAbort, { once: true });
			});
		}
	}

	/** The owner has no more interest. Extractions that nobody claims any more are removed. */
	async release(owner: object): Promise<void> {
		const left: Extraction[] = [];
		for (const [key, chain] of this.#chains) {
			if (!chain.owners.delete(owner) || chain.owners.size > 0) continue;
			this.#chains.delete(key);
			if (chain.extraction !== undefined) left.push(chain.extraction);
		}
		await Promise.all(left.map(remove));
	}

	#chainOf(key: string): Chain {
		const known = this.#chains.get(key);
		if (known !== undefined) return known;
		const chain: Chain = { owners: new Set(), waiting: new Set() };
		this.#chains.set(key, chain);
		return chain;
	}

	async #commit(chain: Chain, layer: LayerPlan, storage: NamespaceStorage): Promise<void> {
		const { extraction } = chain;
		if (await storage.hasSnapshot(layer.chainId)) {
			delete chain.extraction;
			if (extraction !== undefined) await remove(extraction);
			return;
		}
		if (extraction === undefined)
			throw new DaemonError("Aborted", { kind: "snapshot", id: layer.chainId }, "its extraction is gone, pull again");
		try {
			await extraction.storage.commitExtraction(
				layer.chainId,
				extraction.key,
				layer.parentChainId,
				labelsOf(layer),
				extraction.filled,
			);
		} catch (reason) {
			if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists") throw reason;
			await extraction.storage.removeExtraction(extraction.key);
		}
		delete chain.extraction;
		await storage.hasSnapshot(layer.chainId); // now kept by this pull's lease as well
		await extraction.lease.release();
	}
}

/** Annotations of a layer that are meant for the snapshotter become labels of its snapshot (snapshots.FilterInheritedLabels). */
export const labelsOf = ({ annotations = {}, chainId }: LayerPlan): Labels => ({
	...Object.fromEntries(Object.entries(annotations).filter(([name]) => name.startsWith(snapshotLabel))),
	[contentLabels.snapshotRef]: chainId,
});

async function remove({ storage, key, lease }: Extraction): Promise<void> {
	try {
		await storage.removeExtraction(key);
	} finally {
		await lease.release();
	}
}
