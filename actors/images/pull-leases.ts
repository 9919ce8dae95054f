import type { ImageLease, ImageStorage } from "./image-storage.ts";

/** A share of a lease; the lease goes with its last share. */
export interface LeaseShare {
	readonly id: string;
	/** Another share of the same lease. */
	share(): LeaseShare;
	/** Once; a second call does nothing. */
	release(): Promise<void>;
}

/** New work gets a new lease after this long, since a lease expires after 24 h. Milliseconds. */
const renewMs = 3_600_000;

interface Held {
	readonly lease: Promise<ImageLease>;
	readonly since: number;
	shares: number;
}

/**
 * One lease per namespace for all pulls that run at the same time: a layer that two of them want must not be collected
 * when the one that began it is cancelled.
 */
export class PullLeases {
	readonly #storage: ImageStorage;
	readonly #now: () => number;
	readonly #current = new Map<string, Held>();

	/** `now`: milliseconds since 1970. */
	constructor(storage: ImageStorage, now: () => number) {
		this.#storage = storage;
		this.#now = now;
	}

	async acquire(namespace: string): Promise<LeaseShare> {
		let held = this.#current.get(namespace);
		if (held === undefined || held.since + renewMs < this.#now()) {
			held = { lease: this.#storage.lease(namespace), since: this.#now(), shares: 0 };
			this.#current.set(namespace, held);
		}
		const share = this.#share(namespace, held);
		try {
			return share((await held.lease).id);
		} catch (reason) {
			if (this.#current.get(namespace) === held) this.#current.delete(namespace);
			throw reason;
		}
	}

	#share(namespace: string, held: Held): (id: string) => LeaseShare {
		held.shares++;
		let released = false;
		return (id) => ({
			id,
			share: () => this.#share(namespace, held)(id),
			release: async () => {
				if (released) return;
				released = true;
				held.shares--;
				if (held.shares > 0) return;
				if (this.#current.get(namespace) === held) this.#current.delete(namespace);
				await (await held.lease).release();
			},
		});
	}
}
