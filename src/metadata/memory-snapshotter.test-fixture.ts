import { DaemonError } from "../errors/daemon-error.ts";
import type { CommitOptions, SnapshotInfo, SnapshotKind, Snapshotter } from "../snapshots/snapshotter.ts";
import type { Mount } from "../sys/mounts.ts";

/** A snapshotter without files: what it has is in `infos`, in the order of creation. */
export class MemorySnapshotter implements Snapshotter {
	readonly name = "memory";
	readonly root = "/nowhere";
	readonly capabilities = ["rebase"] as const;
	readonly infos = new Map<string, SnapshotInfo>();
	/** Awaited in each change, before it is done. */
	gate: (method: string, key: string) => Promise<void> = async () => undefined;

	prepare(key: string, parent: string, labels = {}): Promise<readonly Mount[]> {
		return this.#create("active", key, parent, labels);
	}

	view(key: string, parent: string, labels = {}): Promise<readonly Mount[]> {
		return this.#create("view", key, parent, labels);
	}

	async mounts(key: string): Promise<readonly Mount[]> {
		const { parent } = this.#require(key);
		return [{ type: "overlay", source: key, target: "", options: [`parent=${parent}`] }];
	}

	async commit(name: string, key: string, { labels = {}, parent }: CommitOptions = {}): Promise<void> {
		await this.gate("commit", name);
		const active = this.#require(key);
		if (active.kind !== "active") throw this.#error("FailedPrecondition", key);
		this.infos.delete(key);
		this.infos.set(name, { ...active, name, kind: "committed", labels, parent: active.parent || (parent ?? "") });
	}

	async stat(key: string): Promise<SnapshotInfo> {
		return this.#require(key);
	}

	async update(key: string, labels: Readonly<Record<string, string>>): Promise<SnapshotInfo> {
		const info = { ...this.#require(key), labels };
		this.infos.set(key, info);
		return info;
	}

	async usage(): Promise<{ size: bigint; inodes: bigint }> {
		return { size: 1n, inodes: 1n };
	}

	async remove(key: string): Promise<void> {
		await this.gate("remove", key);
		this.#require(key);
		if ([...this.infos.values()].some(({ parent }) => parent === key)) throw this.#error("FailedPrecondition", key);
		this.infos.delete(key);
	}

	walk(): Iterable<SnapshotInfo> {
		return [...this.infos.values()];
	}

	async cleanup(): Promise<void> {}
	async close(): Promise<void> {}

	async #create(kind: SnapshotKind, key: string, parent: string, labels: Readonly<Record<string, string>>) {
		await this.gate("prepare", key);
		if (this.infos.has(key)) throw this.#error("AlreadyExists", key);
		if (parent !== "" && this.#require(parent).kind !== "committed") throw this.#error("FailedPrecondition", parent);
		this.infos.set(key, { kind, name: key, parent, created: 0n, updated: 0n, labels });
		return this.mounts(key);
	}

	#require(key: string): SnapshotInfo {
		const info = this.infos.get(key);
		if (info === undefined) throw this.#error("NotFound", key);
		return info;
	}

	#error(code: "NotFound" | "AlreadyExists" | "FailedPrecondition", key: string): DaemonError {
		return new DaemonError(code, { kind: "snapshot", id: key }, code);
	}
}
