import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DaemonError, type ObjectIdentity } from "../src/errors/daemon-error.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import { Cgroup } from "./cgroup.ts";
import type { CheckpointCommand } from "./checkpoint-command.ts";
import { type ContainerRecord, type StdioPaths, writeRecord, writingOf } from "./container-record.ts";
import { explainFailure } from "./criu.ts";
import { type DirectContainer, deleteDirectly, removeGroups, removeState, startDirectly } from "./direct-runtime.ts";
import { parseExactly } from "./exact-json.ts";
import type { Exit } from "./exit.ts";
import type { Entry, ReportedFact } from "./exit-journal.ts";
import { type Log, reasonOf } from "./log.ts";
import type { OciRuntime, RuntimeContext } from "./oci-runtime.ts";
import { OomWatch } from "./oom.ts";
import { ContainerProcess, hasExecuted } from "./process.ts";
import type { ProcessStatus } from "./process-status.ts";
import type { Report } from "./publisher.ts";
import { report, reportOf } from "./reports.ts";
import type { StandbyPort } from "./standby-port.ts";
import { Stdio, type StdioContext } from "./stdio.ts";
import { now } from "./time.ts";
import { Turns } from "./turns.ts";

/** What a shard gives to each of its containers. */
export interface ContainerContext extends StdioContext, RuntimeContext {
	readonly shard: string;
	readonly namespace: string;
	/** Directory of the OCI runtimes' own state. */
	readonly runtimeRoot: string;
	/** The runtime's path when the container names none. */
	readonly defaultRuntime: string | undefined;
	readonly standby: StandbyPort;
	readonly log: Log;
	/** Makes facts durable. */
	record(facts: readonly ReportedFact[]): readonly Entry<ReportedFact>[];
	acknowledge(seq: number): void;
	/** Events are published too that the daemon can tell from the answers to its calls. */
	readonly reportsAll: boolean;
	publish(containerId: string, report: Report): void;
}

/** What is fixed when a container is made or taken over. */
export interface ContainerParts {
	readonly id: string;
	readonly bundle: string;
	readonly runtime: OciRuntime;
	readonly ownPidNamespace: boolean;
	/** Its spec asks for nothing at start and delete that only the OCI runtime can do. */
	readonly direct: boolean;
	readonly checkpoint: string;
	readonly init: ContainerProcess;
}

/** One container: its init, its execs, its control group. Requests take turns; exits do not wait for them. */
export class Container {
	readonly id: string;
	readonly bundle: string;
	readonly runtime: OciRuntime;
	readonly init: ContainerProcess;
	readonly execs = new Map<string, ContainerProcess>();
	readonly identity: ObjectIdentity;
	readonly parts: ContainerParts;
	cgroup: Cgroup | undefined;
	oom: OomWatch | undefined;
	/** What of its stdio could not be opened again when it was adopted, and why. */
	readonly lostStdio: string[] = [];
	readonly context: ContainerContext;
	readonly #turns = new Turns();
	#gone = false;
	/** The last writing of the record that was ours. */
	#writing: string | undefined;
	/** Its control groups were removed ahead of its deletion. */
	#hasNoGroups = false;
	/** The record does not say yet what is true. */
	#unsaved = false;

	constructor(parts: ContainerParts, context: ContainerContext) {
		this.parts = parts;
		this.context = context;
		this.id = parts.id;
		this.bundle = parts.bundle;
		this.runtime = parts.runtime;
		this.init = parts.init;
		this.identity = { kind: "task", namespace: context.namespace, id: parts.id };
	}

	get rootfs(): string {
		return join(this.bundle, "rootfs");
	}

	/** Where criu works when nobody names another place. */
	get criuWorkPath(): string {
		return this.runtime.record.criuWorkPath ?? join(this.bundle, "criu");
	}

	get processes(): readonly ContainerProcess[] {
		return [this.init, ...this.execs.values()];
	}

	/** The init (empty id) or an exec. NotFound if there is none. */
	process(execId: string): ContainerProcess {
		const found = execId === "" ? this.init : this.execs.get(execId);
		if (found === undefined) throw new DaemonError("NotFound", execIdentity(this.identity, execId), "not found");
		return found;
	}

	/** Requests of a container take turns; once it is deleted those that still wait are NotFound. */
	take<T>(work: () => Promise<T> | T): Promise<T> {
		return this.#turns.take(() => {
			if (this.#gone) throw new DaemonError("NotFound", this.identity, "not found");
			return work();
		});
	}

	/** The container is deleted, or was never wholly created. */
	leave(): void {
		this.#gone = true;
	}

	/** Its record lies there already, for this shard: it is being adopted. */
	adoptRecord(): void {
		this.#writing = writingOf(this.bundle);
	}

	/**
	 * Its record was removed or replaced by somebody else: by the delete contract, which this shard did not answer in time, or by
	 * a shard that holds another container of this name now.
	 */
	get isDisowned(): boolean {
		return this.#writing !== undefined && writingOf(this.bundle) !== this.#writing;
	}

	/** Makes the record say what is true now, unless it is another's. */
	save(): void {
		if (this.isDisowned) return;
		const { id, runtime, parts } = this;
		const record: ContainerRecord = {
			schema: 1,
			id,
			namespace: this.context.namespace,
			shard: this.context.shard,
			runtime: runtime.record,
			ownPidNamespace: parts.ownPidNamespace,
			checkpoint: parts.checkpoint,
			cgroup: this.cgroup?.toRecord() ?? {},
			oomKills: this.oom?.seen ?? 0,
			init: this.init.toRecord(),
			execs: [...this.execs.values()].map((process) => process.toRecord()),
		};
		this.#writing = writeRecord(this.bundle, record);
		this.#unsaved = false;
	}

	publish<Name extends Parameters<typeof report>[1]>(name: Name, message: Parameters<typeof report<Name>>[2]): void {
		const { namespace, reportsAll } = this.context;
		if (reportsAll) this.context.publish(this.id, report(namespace, name, message));
	}

	/** Starts the created init, or an exec. Its start is reported before its exit, even if that came first. */
	start(execId: string, timeoutMs: number | undefined): Promise<number> {
		return this.take(async () => {
			const process = this.process(execId);
			const before = process.status;
			process.move("starting");
			const over = Promise.withResolvers<void>();
			process.starting = over.promise;
			try {
				if (before === "created") await this.#startInit(timeoutMs);
				else if (execId === "") await this.#restore(timeoutMs);
				else await this.make(process, this.#execCommand(process), timeoutMs);
				this.#started(process, before === "created");
				return process.pid;
			} catch (reason) {
				if (process.exit === undefined) this.#startFailed(process, before);
				// The runtime's words for it differ by the moment; its exit may still be on its way to us.
				if (process !== this.init && this.init.isOver)
					throw new DaemonError("FailedPrecondition", process.identity, "its container has ended", { cause: reason });
				throw reason;
			} finally {
				process.starting = undefined;
				over.resolve();
			}
		});
	}

	async #startInit(timeoutMs: number | undefined): Promise<void> {
		const limit = Math.min(timeoutMs ?? this.context.timeoutMs, this.context.timeoutMs);
		if (hasExecuted(this.init)) return; // who started it died before he could tell
		if (this.parts.direct && (await startDirectly(this.context.kernel, this.#direct, limit))) return;
		await this.#runtime(["start", this.id], timeoutMs);
	}

	get #direct(): DirectContainer {
		const { pid, reaped } = this.init;
		return { state: join(this.runtime.record.root, this.id), pid, ended: reaped };
	}

	#started(process: ContainerProcess, wasCreated: boolean): void {
		if (process.exit === undefined) process.move("running");
		if (process.execId === "") this.publish("TaskStart", { containerId: this.id, pid: process.pid });
		else this.publish("TaskExecStarted", { containerId: this.id, execId: process.execId, pid: process.pid });
		// A created init's pid is in the record, and that it was started shows in the runtime's directory: the answer goes first.
		if (wasCreated) this.#saveSoon();
		else this.save();
	}

	#saveSoon(): void {
		this.#unsaved = true;
		setImmediate(() => {
			if (!this.#unsaved || this.#gone) return;
			try {
				this.save();
			} catch (reason) {
				this.context.log("error", "the container's record cannot be written", {
					id: this.id,
					reason: reasonOf(reason),
				});
			}
		});
	}

	#startFailed(process: ContainerProcess, before: ProcessStatus): void {
		process.move(before);
		const { stdio } = process;
		if (before === "created" || stdio === undefined) return;
		process.stdio = undefined; // a second attempt opens it again
		void stdio.close();
	}

	/**
	 * Runs a command of the OCI runtime that makes `process` (create, restore, exec), with the process's stdio, and takes
	 * hold of the process: its exit is durable from here on, however early it came.
	 */
	make(process: ContainerProcess, command: readonly string[], timeoutMs: number | undefined): Promise<void> {
		const { reaper, namespace, standby } = this.context;
		return reaper.whileCreating(async () => {
			const { ioOwner } = this.runtime.record;
			const stdio = await Stdio.open(process.paths, { containerId: this.id, namespace, ioOwner }, this.context);
			process.stdio = stdio;
			const pidFile = pidFileOf(this.bundle, process.execId);
			rmSync(pidFile, { force: true }); // of an attempt that failed: whoever adopts the container believes it
			const console = stdio.consoleSocket === undefined ? [] : ["--console-socket", stdio.consoleSocket];
			const [verb = "", ...options] = command;
			await this.#runtime([verb, "--pid-file", pidFile, ...console, ...options], timeoutMs, stdio);
			const pid = Number(readFileSync(pidFile, "utf8"));
			// Without a pause between looking and watching: in one the process could end and be reaped.
			const there = process.made(pid);
			const held = standby.hold(this, process);
			reaper.watch(pid, there);
			await stdio.handedOver();
			if (stdio.master !== undefined) standby.keepTerminal(this.id, process.execId, stdio.master);
			// Once somebody knows of the process, the end of this shard must not be the end of its stdin.
			if (process.paths.stdin !== "") await held;
		});
	}

	#execCommand({ execId, paths }: ContainerProcess): readonly string[] {
		const tty = paths.terminal ? ["--tty"] : [];
		return ["exec", ...tty, "--detach", "--process", this.#processFile(execId), this.id];
	}

	/** The init runs when it is there: it goes on where it was dumped. */
	async #restore(timeoutMs: number | undefined): Promise<void> {
		const { bundle, runtime, criuWorkPath: workPath } = this;
		const noPivot = runtime.record.noPivotRoot ? ["--no-pivot"] : [];
		mkdirSync(workPath, { recursive: true, mode: 0o711 });
		const images = ["--image-path", this.parts.checkpoint, "--work-path", workPath];
		try {
			await this.make(
				this.init,
				["restore", ...noPivot, "--bundle", bundle, ...images, "--detach", this.id],
				timeoutMs,
			);
		} catch (reason) {
			throw await explainFailure(reason, this.identity, { runtime, bundle, workPath }, this.context);
		}
		this.findCgroup();
	}

	/** Finds the control group of a running init and watches its memory. */
	findCgroup(): void {
		try {
			this.cgroup = Cgroup.ofProcess(this.init.pid);
		} catch (reason) {
			if (!failedWith(reason, "ENOENT", "ESRCH")) throw reason;
			return; // it has ended already
		}
		this.oom = new OomWatch(this.context.kernel, this.cgroup, () => this.ranOutOfMemory());
	}

	#processFile(execId: string): string {
		return join(this.bundle, `${execId}.process.json`);
	}

	async #runtime(args: readonly string[], timeoutMs: number | undefined, stdio?: Stdio): Promise<void> {
		try {
			await this.runtime.run(this.id, this.bundle, args, {
				...(timeoutMs === undefined ? {} : { timeoutMs }),
				...(stdio === undefined ? {} : { descriptors: stdio.descriptors }),
			});
		} catch (reason) {
			const { code, problem } = DaemonError.from(reason, this.identity);
			throw new DaemonError(code, this.identity, `OCI runtime ${args[0]} failed: ${problem}`, { cause: reason });
		}
	}

	/** Adds a process; it is made when it is started. `spec` is the JSON text of an OCI process. */
	addExec(execId: string, paths: StdioPaths, spec: Uint8Array): Promise<void> {
		return this.take(() => {
			const identity = execIdentity(this.identity, execId);
			if (this.execs.has(execId)) throw new DaemonError("AlreadyExists", identity, "already exists");
			if (this.init.status !== "running")
				throw new DaemonError("FailedPrecondition", this.identity, `cannot exec while it is ${this.init.status}`);
			const process = parseProcess(spec, identity);
			writeFileSync(this.#processFile(execId), JSON.stringify({ ...process, terminal: paths.terminal }), {
				mode: 0o600,
			});
			this.execs.set(execId, new ContainerProcess(this.context.kernel, execId, paths, "added", identity));
			this.publish("TaskExecAdded", { containerId: this.id, execId });
			this.save();
		});
	}

	/** A process of this container has ended, and the journal knows. */
	exited(process: ContainerProcess, entry: Entry<ReportedFact>, exit: Exit): void {
		process.ended(exit);
		if (process === this.init && !this.parts.ownPidNamespace) this.killAll(9);
		void this.#reportExit(process, entry, exit);
		this.#saveSoon(); // the journal has it, and this turn of the loop hears no acknowledgement
	}

	async #reportExit(process: ContainerProcess, entry: Entry<ReportedFact>, exit: Exit): Promise<void> {
		const { standby, log } = this.context;
		await process.starting;
		this.oom?.look();
		await process.stdio?.drain();
		this.context.publish(
			this.id,
			reportOf(entry, () => this.context.acknowledge(entry.seq)),
		);
		process.reported(exit);
		if (process === this.init) setImmediate(() => this.#clearGroups());
		try {
			await process.stdio?.release();
			standby.releaseStdio(this.id, process.execId);
		} catch (reason) {
			log("warning", "stdio not released", { id: this.id, execId: process.execId, reason: reasonOf(reason) });
		}
	}

	/** The kernel has killed a process of the container for lack of memory: durable, and reported once. */
	ranOutOfMemory(): void {
		const fact: ReportedFact = { kind: "oom", namespace: this.context.namespace, containerId: this.id, at: now() };
		const entries = this.context.record([fact]);
		const tell = () => {
			for (const entry of entries)
				this.context.publish(
					this.id,
					reportOf(entry, () => this.context.acknowledge(entry.seq)),
				);
		};
		if (this.init.starting === undefined) tell();
		else void this.init.starting.then(tell);
		this.save();
	}

	/** One process by its pidfd, or all of the container's control group. */
	async kill(execId: string, signal: number, all: boolean): Promise<void> {
		const process = this.process(execId);
		if (all && this.killAll(signal) > 0) return;
		process.signal(signal);
		// A frozen process dies when it is thawed; whoever kills a paused container wants it dead.
		if (signal === 9 && this.init.status === "paused") await this.#runtime(["resume", this.id], undefined);
	}

	/** How many got the signal. */
	killAll(signal: number): number {
		let reached = 0;
		for (const pid of this.cgroup?.pids() ?? [])
			try {
				this.context.kernel.kill(pid, signal);
				reached++;
			} catch (reason) {
				if (!failedWith(reason, "ESRCH")) throw reason;
			}
		return reached;
	}

	pause(timeoutMs: number | undefined): Promise<void> {
		return this.take(async () => {
			this.init.move("pausing");
			try {
				await this.#runtime(["pause", this.id], timeoutMs);
			} catch (reason) {
				if (this.init.exit === undefined) this.init.move("running");
				throw reason;
			}
			if (this.init.exit === undefined) this.init.move("paused");
			this.publish("TaskPaused", { containerId: this.id });
			this.save();
		});
	}

	resume(timeoutMs: number | undefined): Promise<void> {
		return this.take(async () => {
			if (this.init.status !== "paused") throw this.init.refusal("running");
			await this.#runtime(["resume", this.id], timeoutMs);
			if (this.init.exit === undefined) this.init.move("running");
			this.publish("TaskResumed", { containerId: this.id });
			this.save();
		});
	}

	/** `resources` is the JSON text of an OCI LinuxResources. */
	update(resources: Uint8Array, timeoutMs: number | undefined): Promise<void> {
		return this.take(async () => {
			if (this.init.exit !== undefined)
				throw new DaemonError("FailedPrecondition", this.identity, "cannot be updated while it is stopped");
			const file = join(this.bundle, ".resources.json");
			writeFileSync(file, resources, { mode: 0o600 });
			try {
				await this.#runtime(["update", "--resources", file, this.id], timeoutMs);
			} finally {
				rmSync(file, { force: true });
			}
		});
	}

	/** Dumps the container with criu into `imagePath`, with its log in `workPath`; `options` are the runtime's others. */
	checkpoint({ path, imagePath, workPath, options }: CheckpointCommand, timeoutMs: number | undefined): Promise<void> {
		return this.take(async () => {
			if (this.init.status !== "running" && this.init.status !== "paused")
				throw new DaemonError(
					"FailedPrecondition",
					this.identity,
					`cannot be checkpointed while it is ${this.init.status}`,
				);
			const { bundle, runtime } = this;
			for (const directory of [imagePath, workPath]) mkdirSync(directory, { recursive: true, mode: 0o711 });
			const places = ["--image-path", imagePath, "--work-path", workPath];
			try {
				await this.#runtime(["checkpoint", ...places, ...options, this.id], timeoutMs);
			} catch (reason) {
				throw await explainFailure(reason, this.identity, { runtime, bundle, workPath }, this.context);
			}
			this.publish("TaskCheckpointed", { containerId: this.id, checkpoint: path });
		});
	}

	/** Removes what the OCI runtime has made for a container whose processes have all ended. */
	async clear(timeoutMs?: number): Promise<void> {
		const { direct, ownPidNamespace } = this.parts;
		const { cgroup } = this;
		if (this.#hasNoGroups) return removeState(this.#direct);
		if (direct && ownPidNamespace && cgroup !== undefined && deleteDirectly(this.#direct, cgroup)) return;
		await this.discard(timeoutMs);
	}

	/** Ahead of the deletion, while the daemon and its client are busy with the exit. What cannot be removed is left to it. */
	#clearGroups(): void {
		const { direct, ownPidNamespace } = this.parts;
		if (!direct || !ownPidNamespace || this.cgroup === undefined || this.#gone) return;
		try {
			this.#hasNoGroups = removeGroups(this.#direct, this.cgroup);
		} catch (reason) {
			this.context.log("warning", "control groups not removed yet", { id: this.id, reason: reasonOf(reason) });
		}
	}

	/** Has the OCI runtime forget the container, killing what is left of it. */
	async discard(timeoutMs?: number): Promise<void> {
		try {
			await this.#runtime(["delete", "--force", this.id], timeoutMs);
		} catch (reason) {
			if (!(reason instanceof DaemonError && reason.code === "NotFound")) throw reason;
		}
	}

	removeProcessFiles(execId: string): void {
		rmSync(this.#processFile(execId), { force: true });
		rmSync(pidFileOf(this.bundle, execId), { force: true });
	}
}

/** Where the OCI runtime writes the pid of a process that it has made. */
export const pidFileOf = (bundle: string, execId: string): string =>
	join(bundle, `${execId === "" ? "init" : execId}.pid`);

export const execIdentity = ({ namespace, id }: ObjectIdentity, execId: string): ObjectIdentity => ({
	kind: execId === "" ? "task" : "exec",
	...(namespace === undefined ? {} : { namespace }),
	id: execId === "" ? id : `${id}/${execId}`,
});

function parseProcess(spec: Uint8Array, identity: ObjectIdentity): object {
	try {
		const parsed = parseExactly(Buffer.from(spec).toString("utf8"));
		if (typeof parsed === "object" && parsed !== null) return parsed;
	} catch (reason) {
		throw new DaemonError("InvalidArgument", identity, "the spec is not an OCI process", { cause: reason });
	}
	throw new DaemonError("InvalidArgument", identity, "the spec is not an OCI process");
}
