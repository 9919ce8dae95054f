import { type ChildExit, peekAnyExit, peekExit, reap } from "../src/sys/child-exit.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { type Log, reasonOf } from "./log.ts";
import type { Strays } from "./stray-journal.ts";

/** Ended children of which nothing was known yet: a process may end before its creator has told us its pid. */
const maximumStrays = 1024;
const retryMs = 500;

/**
 * The only one who waits for children. It needs a process without child_process, whose statuses it would take.
 *
 * Exits of watched processes are first peeked at and written down, and only then reaped: if the shim is killed in
 * between, the zombie is still there for whoever becomes its parent.
 */
export class Reaper {
	readonly #kernel: Pick<Kernel, "waitid">;
	readonly #record: (exits: readonly ChildExit[]) => void;
	readonly #log: Log;
	readonly #watched = new Set<number>();
	readonly #tools = new Map<number, (exit: ChildExit) => void>();
	readonly #strays = new Map<number, ChildExit>();
	readonly #keepStrays: boolean;
	readonly #journal: Strays;
	#creations = 0;
	#retry: NodeJS.Timeout | undefined;

	/**
	 * `record` makes exits of watched processes durable; if it throws, they are offered again later. `keepStrays` for a
	 * process that is told of others' processes late: the newest exits of unknown ones are always kept.
	 */
	constructor(
		kernel: Pick<Kernel, "waitid">,
		record: (exits: readonly ChildExit[]) => void,
		log: Log,
		keepStrays: boolean = false,
		journal: Strays = { keep: () => {}, drop: () => {} },
	) {
		this.#journal = journal;
		this.#keepStrays = keepStrays;
		this.#kernel = kernel;
		this.#record = record;
		this.#log = log;
	}

	/**
	 * From now on the exit of this process goes to `record`; at once if it has been reaped as a stray. `there`: the process
	 * exists, so that a stray with its pid was another one.
	 */
	watch(pid: number, there: boolean): void {
		const stray = this.#strays.get(pid);
		if (there || stray === undefined) {
			this.#forget(pid);
			this.#watched.add(pid);
			this.sweep();
			return;
		}
		this.#record([stray]);
		this.#forget(pid);
	}

	/** Its exit is nobody's business any more; if it is a child it is still reaped. */
	unwatch(pid: number): void {
		this.#watched.delete(pid);
	}

	/** The exit of a tool that was just spawned (an OCI runtime, a logger): nothing durable. */
	exitOf(pid: number): Promise<ChildExit> {
		return new Promise((resolve) => {
			this.#tools.set(pid, resolve);
			this.sweep();
		});
	}

	/** While `work` makes processes whose pids are not known yet, the exits of unknown ones are kept. */
	async whileCreating<T>(work: () => Promise<T>): Promise<T> {
		this.#creations++;
		try {
			return await work();
		} finally {
			if (--this.#creations === 0 && !this.#keepStrays) for (const pid of [...this.#strays.keys()]) this.#forget(pid);
		}
	}

	/** On SIGCHLD. Signals coalesce, so it goes on until no ended child is left. */
	sweep(): void {
		for (let exit = peekAnyExit(this.#kernel); exit !== undefined; exit = peekAnyExit(this.#kernel))
			if (!this.#watched.has(exit.pid)) this.#reapUnwatched(exit);
			else if (!this.#reapWatched()) return;
	}

	#reapUnwatched(exit: ChildExit): void {
		const tool = this.#tools.get(exit.pid);
		if (tool === undefined && (this.#creations > 0 || this.#keepStrays)) this.keep(exit);
		reap(this.#kernel, exit.pid);
		this.#tools.delete(exit.pid);
		tool?.(exit);
	}

	/** Also one that another process has reaped before it died. */
	keep(exit: ChildExit): void {
		const [oldest] = this.#strays.keys();
		if (oldest !== undefined && this.#strays.size >= maximumStrays) this.#forget(oldest);
		try {
			this.#journal.keep(exit);
		} catch (reason) {
			this.#log("error", "an exit without an owner is known to this process only", { reason: reasonOf(reason) });
		}
		this.#strays.set(exit.pid, exit);
	}

	#forget(pid: number): void {
		if (this.#strays.delete(pid)) this.#journal.drop(pid);
	}

	/** All that have ended, in one durable write. */
	#reapWatched(): boolean {
		const exits = [...this.#watched].flatMap((pid) => peekExit(this.#kernel, pid) ?? []);
		try {
			this.#record(exits);
		} catch (reason) {
			this.#log("error", "exits cannot be recorded; their processes stay zombies until they can", {
				pids: exits.map(({ pid }) => pid),
				reason: reasonOf(reason),
			});
			this.#retry ??= setTimeout(() => {
				this.#retry = undefined;
				this.sweep();
			}, retryMs);
			return false;
		}
		for (const { pid } of exits) {
			this.#watched.delete(pid);
			reap(this.#kernel, pid);
		}
		return true;
	}
}
