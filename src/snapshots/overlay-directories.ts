import { chmod, chown, mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { nativeKernel } from "../sys/native-kernel.ts";
import type { Trees } from "../workers/tree-pool.ts";
import { spreadDirectories } from "./spread-directories.ts";

/** Prefix of directories that only wait to be deleted. */
const doomedPrefix = "rm-";

/**
 * The directories of an overlay snapshotter, in containerd's layout: `<root>/snapshots/<n>/{fs,work}`. Deletion is a
 * rename, then work in the background, one tree at a time; what a crash leaves is found again by its name.
 */
export class OverlayDirectories {
	readonly #snapshots: string;
	readonly #trees: Pick<Trees, "remove">;
	readonly #onProblem: (problem: Error) => void;
	readonly #stop = new AbortController();
	/** Names below the snapshots directory: no more than there are directories. */
	readonly #doomed = new Set<string>();
	/** Bounded like #doomed. */
	readonly #failed = new Map<string, Error>();
	#removing: Promise<void> | undefined;
	#last = 0;

	constructor(root: string, trees: Pick<Trees, "remove">, onProblem: (problem: Error) => void) {
		this.#snapshots = join(root, "snapshots");
		this.#trees = trees;
		this.#onProblem = onProblem;
	}

	upper(id: number): string {
		return join(this.#snapshots, String(id), "fs");
	}

	work(id: number): string {
		return join(this.#snapshots, String(id), "work");
	}

	/**
	 * Looks what is there: dooms the directories that no record knows and answers the recorded ones that are missing.
	 * Numbers are never used twice.
	 */
	async open(recorded: ReadonlySet<number>): Promise<readonly number[]> {
		await mkdir(this.#snapshots, { recursive: true, mode: 0o700 });
		await spreadDirectories(nativeKernel, this.#snapshots);
		const present = new Set<number>();
		for (const name of await readdir(this.#snapshots)) {
			const id = /^[0-9]+$/.test(name) ? Number(name) : undefined;
			this.#last = Math.max(this.#last, id ?? Number(/^rm-([0-9]+)/.exec(name)?.[1] ?? 0));
			if (id !== undefined && recorded.has(id)) present.add(id);
			else if (id !== undefined) await this.doom(id);
			else if (name.startsWith(doomedPrefix)) this.#remove(name);
		}
		const missing = [...recorded].filter((id) => !present.has(id));
		this.#last = Math.max(this.#last, ...recorded);
		return missing;
	}

	/** A new, empty snapshot directory. `owner`: a directory whose owner the root of the tree takes, as overlayfs shows it. */
	async create(kind: "active" | "view", owner: string | undefined): Promise<number> {
		const id = ++this.#last;
		const directory = join(this.#snapshots, String(id));
		// Side by side what can be: a prepare is on the way of every container's start.
		const [ownerStat] = await Promise.all([
			owner === undefined ? undefined : stat(owner),
			mkdir(directory, { mode: 0o700 }),
		]);
		await Promise.all([
			mkdir(this.upper(id), { mode: 0o755 }),
			kind === "active" ? mkdir(this.work(id), { mode: 0o711 }) : undefined,
		]);
		await Promise.all([
			chmod(this.upper(id), 0o755), // whatever the umask is
			ownerStat === undefined ? undefined : chown(this.upper(id), ownerStat.uid, ownerStat.gid),
		]);
		return id;
	}

	async takeOwner(id: number, owner: string): Promise<void> {
		const { uid, gid } = await stat(owner);
		await chown(this.upper(id), uid, gid);
	}

	/** Deletes a snapshot's directory: out of the way now, gone soon. A missing one is no error. */
	async doom(id: number): Promise<void> {
		const name = `${doomedPrefix}${id}`;
		try {
			await rename(join(this.#snapshots, String(id)), join(this.#snapshots, name));
		} catch (reason) {
			if ((reason as NodeJS.ErrnoException).code === "ENOENT") return;
			throw reason;
		}
		this.#remove(name);
	}

	/** Tries again what could not be deleted, and waits until nothing is left. Throws what stays in the way. */
	async cleanup(signal?: AbortSignal): Promise<void> {
		this.#failed.clear();
		for (const name of await readdir(this.#snapshots)) if (name.startsWith(doomedPrefix)) this.#remove(name);
		while (this.#removing !== undefined) {
			signal?.throwIfAborted();
			await Promise.race([this.#removing, aborted(signal)]);
		}
		for (const problem of this.#failed.values()) throw problem;
	}

	/** Stops deleting, in the middle of a tree if need be. */
	async close(): Promise<void> {
		this.#stop.abort();
		await this.#removing;
	}

	#remove(name: string): void {
		this.#doomed.add(name);
		if (this.#removing === undefined && !this.#stop.signal.aborted) this.#removing = this.#removeAll();
	}

	async #removeAll(): Promise<void> {
		const { signal } = this.#stop;
		for (const name of this.#doomed) {
			if (signal.aborted) break;
			try {
				await this.#trees.remove(join(this.#snapshots, name), signal);
			} catch (reason) {
				// It stays on disk under its name: cleanup() or the next start tries again.
				if (!signal.aborted) {
					this.#failed.set(name, reason as Error);
					this.#onProblem(reason as Error);
				}
			}
			this.#doomed.delete(name);
		}
		// In the same turn as the loop's end: what comes later starts a new one.
		this.#removing = undefined;
	}
}

/** Rejects when the signal is aborted; without one, never settles. */
const aborted = (signal: AbortSignal | undefined): Promise<never> =>
	new Promise((_, reject) => {
		signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
	});
