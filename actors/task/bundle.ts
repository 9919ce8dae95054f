import { mkdir, readdir, readFile, rename, rm, rmdir, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { TaskIdentity } from "../task-manager/tasks.ts";

/** containerd's name of the directory; other tools look for bundles there. */
const directory = "io.containerd.runtime.v2.task";

export interface BundlesOptions {
	/** Below it lie the bundles; a reboot may take it. */
	readonly state: string;
	/** Below it lie the tasks' working directories, which stay. */
	readonly root: string;
	/** Detaches everything mounted on a path; nothing mounted is no error. */
	readonly unmount: (path: string) => void;
}

/** The bundle directories: `<state>/io.containerd.runtime.v2.task/<namespace>/<id>`, mode 0700 (containerd: runtime/v2/bundle.go). */
export class Bundles {
	readonly #options: BundlesOptions;
	readonly #namespaces = new Map<string, Promise<void>>();
	readonly #removals = new Set<Promise<unknown>>();

	constructor(options: BundlesOptions) {
		this.#options = options;
	}

	path({ namespace, id }: TaskIdentity): string {
		return join(this.#options.state, directory, namespace, id);
	}

	#work({ namespace, id }: TaskIdentity): string {
		return join(this.#options.root, directory, namespace, id);
	}

	/** Makes the bundle. What a dead daemon has left under this name is removed first, by `clear` and then by us. */
	async write(task: TaskIdentity, spec: Uint8Array, clear: () => Promise<void> = async () => {}): Promise<void> {
		const bundle = this.path(task);
		const work = this.#work(task);
		await this.#makeNamespace(task);
		await mkdir(bundle, { mode: 0o700 }).catch(async (reason: NodeJS.ErrnoException) => {
			if (reason.code !== "EEXIST") throw reason;
			await clear();
			await this.remove(task);
			await mkdir(bundle, { mode: 0o700 });
		});
		await Promise.all([
			mkdir(join(bundle, "rootfs"), { mode: 0o711 }),
			writeFile(join(bundle, "config.json"), spec, { mode: 0o600 }),
			symlink(work, join(bundle, "work")),
			mkdir(work, { mode: 0o711, recursive: true }),
		]);
	}

	/** Once in the daemon's life for each namespace. */
	#makeNamespace(task: TaskIdentity): Promise<void> {
		let made = this.#namespaces.get(task.namespace);
		if (made === undefined) {
			const parents = [dirname(this.path(task)), dirname(this.#work(task))];
			made = Promise.all(parents.map((path) => mkdir(path, { mode: 0o711, recursive: true }))).then(() => undefined);
			this.#namespaces.set(task.namespace, made);
			made.catch(() => this.#namespaces.delete(task.namespace));
		}
		return made;
	}

	/**
	 * Takes the bundle and the working directory away; absent ones are no error. The names are free when it resolves, the
	 * files go in the background. A root that is still mounted is detached first: nothing inside a container's root is ever
	 * deleted here. FailedPrecondition if the root holds files of its own.
	 */
	async remove(task: TaskIdentity): Promise<void> {
		const bundle = this.path(task);
		await this.#removeRoot(join(bundle, "rootfs"), task);
		// Hidden first, as containerd does: a half removed bundle is not taken for one at the next start.
		const removed = await Promise.all([hide(bundle), hide(this.#work(task))]);
		for (const hidden of removed) this.#forget(hidden);
	}

	/** A file that cannot be removed now is found by its hidden name at the next start. */
	#forget(hidden: string): void {
		const removal: Promise<void> = rm(hidden, { recursive: true, force: true }).finally(() => {
			this.#removals.delete(removal);
		});
		this.#removals.add(removal);
		removal.catch(() => undefined); // see above
	}

	/** Resolves when nothing is being removed in the background. */
	async settled(): Promise<void> {
		await Promise.allSettled(this.#removals);
	}

	async #removeRoot(rootfs: string, { namespace, id }: TaskIdentity): Promise<void> {
		const remove = (): Promise<void> => rmdir(rootfs).catch(ignore("ENOENT"));
		try {
			await remove();
		} catch (reason) {
			const { code } = reason as NodeJS.ErrnoException;
			if (code !== "EBUSY" && code !== "ENOTEMPTY") throw reason;
			this.#options.unmount(rootfs);
			await remove().catch((error: unknown) => {
				throw new DaemonError("FailedPrecondition", { kind: "bundle", namespace, id }, "its root holds files", {
					cause: error,
				});
			});
		}
	}

	/** Whose bundle or working directory is on disk, in all namespaces. Half removed ones are finished on the way. */
	async list(): Promise<readonly TaskIdentity[]> {
		const found: TaskIdentity[] = [];
		for (const top of [this.#options.state, this.#options.root].map((parent) => join(parent, directory)))
			for (const namespace of await namesIn(top))
				for (const id of await namesIn(join(top, namespace)))
					if (id.startsWith(".")) await rm(join(top, namespace, id), { recursive: true, force: true });
					else if (!found.some((known) => known.namespace === namespace && known.id === id))
						found.push({ namespace, id });
		return found;
	}

	/** The spec as it was written; NotFound if there is no bundle. */
	async spec(task: TaskIdentity): Promise<Uint8Array> {
		return readFile(join(this.path(task), "config.json")).catch((reason: unknown) => {
			throw DaemonError.from(reason, { kind: "bundle", ...task });
		});
	}
}

let hiddenNames = 0;

/** Gives a directory a name that nobody takes for a bundle, and answers with it. */
async function hide(path: string): Promise<string> {
	const hidden = join(dirname(path), `.${basename(path)}.${process.pid}.${++hiddenNames}`);
	await rename(path, hidden).catch(ignore("ENOENT"));
	return hidden;
}

const ignore =
	(code: string) =>
	(reason: NodeJS.ErrnoException): void => {
		if (reason.code !== code) throw reason;
	};

const namesIn = (path: string): Promise<string[]> =>
	readdir(path).catch((reason: NodeJS.ErrnoException) => {
		if (reason.code === "ENOENT") return [];
		throw reason;
	});
