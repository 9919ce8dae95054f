import { DaemonError } from "../errors/daemon-error.ts";
import type { SnapshotStore } from "./snapshots.ts";

/** The snapshotters of this daemon, by name. */
export class Snapshotters {
	readonly #byName: ReadonlyMap<string, SnapshotStore>;

	constructor(stores: readonly SnapshotStore[]) {
		this.#byName = new Map(stores.map((store) => [store.name, store]));
	}

	/** InvalidArgument, not NotFound, for a missing or unknown name: clients rely on it. */
	named(name: string): SnapshotStore {
		const identity = { kind: "snapshotter", id: name };
		if (name === "") throw new DaemonError("InvalidArgument", identity, "snapshotter argument missing");
		const store = this.#byName.get(name);
		if (store === undefined) throw new DaemonError("InvalidArgument", identity, `snapshotter not loaded: ${name}`);
		return store;
	}

	all(): readonly SnapshotStore[] {
		return [...this.#byName.values()];
	}
}
