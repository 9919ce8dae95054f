import { DaemonError, type ObjectIdentity } from "../src/errors/daemon-error.ts";
import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { executableOf, isExiting, isZombie, openPidfd, signalPidfd, startTimeOf } from "../src/sys/pidfd.ts";
import type { ProcessRecord, StdioPaths } from "./container-record.ts";
import type { Exit } from "./exit.ts";
import { canMove, type ProcessStatus } from "./process-status.ts";
import type { Stdio } from "./stdio.ts";

/** One process of a container: its init (empty exec id) or one that was added by exec. */
export class ContainerProcess {
	readonly execId: string;
	readonly paths: StdioPaths;
	readonly identity: ObjectIdentity;
	/** Resolves as soon as it was reaped, before that is reported. */
	readonly reaped: Promise<void>;
	readonly #reaped = Promise.withResolvers<void>();
	/** The exit, once it is reported: its start was reported before, its output is drained. */
	readonly exited: Promise<Exit>;
	stdio: Stdio | undefined;
	pid = 0;
	startTime = 0;
	/** What it executed when it was made: an init is then still its runtime. Empty if that is not known. */
	executable = "";
	/** Known as soon as it was reaped. */
	exit: Exit | undefined;
	#status: ProcessStatus;
	#pidfd: number | undefined;
	#poll: Poll | undefined;
	/** It has ended, and how is being found out: for somebody who has heard of it elsewhere it is not running. */
	ending = false;
	/** Settles when the start that is under way is over: until then an exit or OOM is not reported. Undefined for none. */
	starting: Promise<void> | undefined;
	readonly #kernel: Kernel;
	readonly #waiters = new Set<(exit: Exit) => void>();
	#isReported = false;
	readonly #exited = Promise.withResolvers<Exit>();

	constructor(kernel: Kernel, execId: string, paths: StdioPaths, status: ProcessStatus, identity: ObjectIdentity) {
		this.#kernel = kernel;
		this.execId = execId;
		this.paths = paths;
		this.identity = identity;
		this.#status = status;
		this.exited = this.#exited.promise;
		this.reaped = this.#reaped.promise;
	}

	get status(): ProcessStatus {
		return this.#status;
	}

	/** Throws FailedPrecondition, naming the state, for a move that the table does not have. */
	move(to: ProcessStatus): void {
		if (!canMove(this.#status, to)) throw this.refusal(to);
		this.#status = to;
	}

	refusal(to: ProcessStatus): DaemonError {
		const verb = { starting: "started", pausing: "paused", running: "resumed" } as Partial<
			Record<ProcessStatus, string>
		>;
		return new DaemonError(
			"FailedPrecondition",
			this.identity,
			`cannot be ${verb[to] ?? to} while it is ${this.#status}`,
		);
	}

	/** Pins the process that the runtime has made, in which `executable` ran then. False if it has ended and was reaped already. */
	made(pid: number, executable = executableOf(pid) ?? ""): boolean {
		this.pid = pid;
		this.startTime = startTimeOf(pid) ?? 0;
		this.executable = executable;
		this.#pidfd = openPidfd(this.#kernel, pid);
		return this.#pidfd !== undefined;
	}

	/** It was made and has ended, whether or not its exit has come to us. */
	get isOver(): boolean {
		if (this.pid === 0) return false;
		if (this.exit !== undefined || startTimeOf(this.pid) !== this.startTime) return true;
		return isExiting(this.pid) || isZombie(this.pid);
	}

	/** For a process that is another's child: calls back when it has ended. */
	watch(ended: (pidfd: number) => void): void {
		const pidfd = this.#pidfd;
		if (pidfd === undefined) return;
		this.#poll = this.#kernel.poll(pidfd, () => {
			this.#poll?.close();
			ended(pidfd);
		});
		this.#poll.unref();
	}

	/** The exit was reaped. The first one counts. */
	ended(exit: Exit): void {
		if (this.exit !== undefined) return;
		this.exit = exit;
		this.#status = "stopped";
		this.#reaped.resolve();
		this.letGo();
	}

	/** The exit was reported. */
	reported(exit: Exit): void {
		this.#isReported = true;
		this.#exited.resolve(exit);
		for (const waiter of this.#waiters) waiter(exit);
		this.#waiters.clear();
	}

	/** The exit, for as long as the signal is not aborted: a Wait may be open for days, and callers come and go. */
	async wait(signal: AbortSignal): Promise<Exit> {
		if (this.#isReported) return this.exited;
		const { promise, resolve, reject } = Promise.withResolvers<Exit>();
		const abort = () => reject(new DaemonError("Canceled", this.identity, "nobody waits any more"));
		this.#waiters.add(resolve);
		signal.addEventListener("abort", abort, { once: true });
		try {
			return await promise;
		} finally {
			this.#waiters.delete(resolve);
			signal.removeEventListener("abort", abort);
		}
	}

	/** NotFound, "process already finished", for one that has ended: clients take it for success. */
	signal(signal: number): void {
		if (this.exit !== undefined) throw new DaemonError("NotFound", this.identity, "process already finished");
		if (this.#pidfd === undefined)
			throw new DaemonError("FailedPrecondition", this.identity, `cannot be killed while it is ${this.#status}`);
		if (!signalPidfd(this.#kernel, this.#pidfd, signal))
			throw new DaemonError("NotFound", this.identity, "process already finished");
	}

	/** Closes the pidfd. */
	letGo(): void {
		this.#poll?.close();
		if (this.#pidfd !== undefined) this.#kernel.close(this.#pidfd);
		this.#pidfd = undefined;
	}

	toRecord(): ProcessRecord {
		const { execId, paths, pid, startTime, executable, status, exit } = this;
		return {
			execId,
			stdio: paths,
			pid,
			startTime,
			executable,
			status,
			...(exit === undefined ? {} : { exit: { status: exit.status, at: String(exit.at), unknown: exit.unknown } }),
		};
	}
}

/** Whether a process executes another program than when it was made; false for a process that has ended, and where its executable is not known. */
export function hasExecuted({ pid, executable }: Pick<ProcessRecord, "pid" | "executable">): boolean {
	const current = executableOf(pid);
	return executable !== "" && current !== undefined && current !== executable;
}
