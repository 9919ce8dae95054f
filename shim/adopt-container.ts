import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DaemonError, type ObjectIdentity } from "../src/errors/daemon-error.ts";
import { exitOfStranger, startTimeOf } from "../src/sys/pidfd.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import { Cgroup } from "./cgroup.ts";
import { Container, type ContainerContext, execIdentity, pidFileOf } from "./container.ts";
import { type ContainerRecord, type ProcessRecord, readRecord } from "./container-record.ts";
import { execFifo, removesFifoAtStart } from "./direct-runtime.ts";
import { type Exit, processKey } from "./exit.ts";
import { reasonOf } from "./log.ts";
import { OciRuntime } from "./oci-runtime.ts";
import { OomWatch } from "./oom.ts";
import { ContainerProcess, hasExecuted } from "./process.ts";
import type { ProcessStatus } from "./process-status.ts";
import { Stdio } from "./stdio.ts";
import { now, pause, within } from "./time.ts";

/** How long an exit that we did not see ourselves may take to be told: by the kernel after the reaping, or the standby. */
const witnessMs = 2_000;
const lookAgainMs = 20;

/**
 * Takes a container over from a dead shard by the record in its bundle, when no runtime of the shard works any more (see
 * runtimesEnded). `known` are the exits that the standby has seen
 * and reported; exits from now on go to `exitSeen`. FailedPrecondition for a bundle without a record or one whose
 * creation was never finished.
 */
export async function adoptContainer(
	id: string,
	bundle: string,
	context: ContainerContext,
	known: ReadonlyMap<string, Exit>,
	exitSeen: (exit: Exit) => void,
	register: (container: Container) => void,
): Promise<Container> {
	const identity = { kind: "task", namespace: context.namespace, id };
	const saved = recordIn(bundle, identity);
	const record = saved && whatWasMade(saved, bundle);
	if (record === undefined || record.id !== id || record.namespace !== context.namespace)
		throw new DaemonError("FailedPrecondition", identity, `cannot be adopted: no record of it in ${bundle}`);
	if (record.init.pid === 0 && record.init.status === "created")
		throw new DaemonError("FailedPrecondition", identity, "cannot be adopted: its creation was not finished");
	const adoption = { record, context, known, exitSeen };
	const init = processOf(adoption, record.init);
	const runtime = new OciRuntime(record.runtime, context);
	const { ownPidNamespace, checkpoint } = record;
	const direct = false; // its spec was another shim's to read
	const container = new Container({ id, bundle, runtime, ownPidNamespace, direct, checkpoint, init }, context);
	for (const exec of record.execs) container.execs.set(exec.execId, processOf(adoption, exec));
	container.adoptRecord();
	register(container); // before its exits are looked for: they come to whoever knows it
	await Promise.all(container.processes.map((process) => take(container, process, adoption)));
	if (Object.keys(record.cgroup).length > 0) {
		container.cgroup = Cgroup.fromRecord(record.cgroup);
		container.oom = new OomWatch(context.kernel, container.cgroup, () => container.ranOutOfMemory(), record.oomKills);
	}
	if (container.lostStdio.length > 0)
		context.log("warning", "stdio is lost with the dead shard", { id, lost: container.lostStdio.join("; ") });
	container.save();
	return container;
}

interface Adoption {
	readonly record: ContainerRecord;
	readonly context: ContainerContext;
	readonly known: ReadonlyMap<string, Exit>;
	readonly exitSeen: (exit: Exit) => void;
}

function recordIn(bundle: string, identity: ObjectIdentity): ContainerRecord | undefined {
	try {
		return readRecord(bundle);
	} catch (reason) {
		throw DaemonError.from(reason, identity, reason instanceof SyntaxError ? "FailedPrecondition" : "Unknown");
	}
}

/** A process that the runtime has made after the shard's death, or just before: its pid is in a file, not in the record. */
function whatWasMade(record: ContainerRecord, bundle: string): ContainerRecord {
	const look = (process: ProcessRecord): ProcessRecord => {
		if (process.pid !== 0 || process.status === "created") return process;
		const file = pidFileOf(bundle, process.execId);
		const pid = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
		if (pid === 0) return process.status === "starting" ? { ...process, status: "added" } : process;
		// Of a process that has ended the pid may be another's.
		const startTime = isIn(record, pid) ? (startTimeOf(pid) ?? 0) : 0;
		return { ...process, pid, startTime, status: "running" };
	};
	return { ...record, init: look(record.init), execs: record.execs.map(look) };
}

/** In any of the groups that were made for the container: not every runtime puts an exec into all of them. */
function isIn({ cgroup }: ContainerRecord, pid: number): boolean {
	try {
		const own = new Set(Cgroup.fromRecord(cgroup).own());
		return Object.values(Cgroup.ofProcess(pid).toRecord()).some((directory) => own.has(directory));
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ESRCH")) return false;
		throw reason;
	}
}

function processOf({ record, context }: Adoption, { execId, stdio, status }: ProcessRecord): ContainerProcess {
	const identity = execIdentity({ kind: "task", namespace: context.namespace, id: record.id }, execId);
	return new ContainerProcess(context.kernel, execId, stdio, statusNow(record, execId, status), identity);
}

/** The shard may have died in the middle of a move. */
function statusNow(
	{ runtime, id, cgroup, init }: ContainerRecord,
	execId: string,
	status: ProcessStatus,
): ProcessStatus {
	if (status === "running" || status === "pausing" || status === "paused") {
		if (execId !== "") return "running";
		return Cgroup.fromRecord(cgroup).frozen ? "paused" : "running";
	}
	if (status !== "created" || execId !== "") return status;
	const state = join(runtime.root, id);
	if (hasExecuted(init)) {
		rmSync(execFifo(state), { force: true }); // who started it died before he took it away, and by it the runtime says "created"
		return "running";
	}
	// Its init may just be on its way from the FIFO to its program.
	return !existsSync(execFifo(state)) && removesFifoAtStart({ state, pid: init.pid }) ? "running" : "created";
}

async function take(container: Container, process: ContainerProcess, adoption: Adoption): Promise<void> {
	const saved = process.execId === "" ? adoption.record.init : recordOfExec(adoption, process.execId);
	if (saved.pid === 0) return;
	const { id } = container;
	const { execId, pid } = saved;
	if (saved.exit !== undefined) {
		process.pid = pid;
		settle(process, { containerId: id, execId, pid, ...saved.exit, at: BigInt(saved.exit.at) });
		return;
	}
	const seen = adoption.known.get(processKey(id, execId));
	if (seen !== undefined && seen.pid === pid) {
		process.pid = pid;
		settle(process, seen);
		return;
	}
	const alive =
		startTimeOf(pid) === saved.startTime && process.made(pid, saved.executable) && startTimeOf(pid) === saved.startTime;
	if (!alive) {
		process.letGo();
		process.pid = pid;
		void awaitWord(container, process, adoption);
		return;
	}
	const master = saved.stdio.terminal ? await adoption.context.standby.savedTerminal(id, execId) : undefined;
	const ofExec = execId === "" ? "" : ` of exec ${execId}`;
	const lost = (what: string, why: string) => void container.lostStdio.push(`${what}${ofExec}: ${why}`);
	if (saved.stdio.terminal && master === undefined)
		lost(execId === "" ? "its terminal" : "the terminal", "nobody holds its master any more");
	const { namespace } = adoption.context;
	const owner = { containerId: id, namespace, ioOwner: container.runtime.record.ioOwner };
	process.stdio = await Stdio.adopt(saved.stdio, master, owner, adoption.context, (what, why) =>
		lost(what, reasonOf(why)),
	);
	if (process.exit !== undefined) void releaseLate(process, adoption.context); // its end was told while that was opened
	process.watch((pidfd) => void witnessExit(id, process, pidfd, adoption));
	void adoption.context.standby.hold(container, process); // it may be a new one that has never heard of it
}

/** Whoever reported the exit found no stdio. */
async function releaseLate({ stdio, identity }: ContainerProcess, { log }: ContainerContext): Promise<void> {
	try {
		await stdio?.drain();
		await stdio?.release();
	} catch (reason) {
		log("warning", "stdio not released", { id: identity.id, reason: reasonOf(reason) });
	}
}

/**
 * It has ended, and nobody has told yet how: the standby's word may be on its way. One that was just made the standby has
 * reaped without knowing whose it was: it must hear of it.
 */
async function awaitWord(container: Container, process: ContainerProcess, adoption: Adoption): Promise<void> {
	process.ending = true;
	await adoption.context.standby.hold(container, process);
	await within(witnessMs, process.reaped);
	if (process.exit === undefined) adoption.exitSeen(unknownExit(container.id, process));
}

function recordOfExec({ record }: Adoption, execId: string): ProcessRecord {
	const found = record.execs.find((exec) => exec.execId === execId);
	if (found === undefined) throw new Error(`record without exec ${execId}`);
	return found;
}

/** An exit that was reported before the adoption. */
function settle(process: ContainerProcess, exit: Exit): void {
	process.ended(exit);
	process.reported(exit);
}

/** The process is not our child: the kernel's note, the zombie, or the standby's word. */
async function witnessExit(id: string, process: ContainerProcess, pidfd: number, adoption: Adoption): Promise<void> {
	const until = Date.now() + witnessMs;
	for (; process.exit === undefined && Date.now() < until; await pause(lookAgainMs)) {
		const status = exitOfStranger(adoption.context.kernel, pidfd, process.pid);
		if (status === undefined) continue;
		const { execId, pid } = process;
		adoption.exitSeen({ containerId: id, execId, pid, status, at: now(), unknown: false });
	}
	if (process.exit === undefined) adoption.exitSeen(unknownExit(id, process));
}

/** Nobody who knew is left. 255 is what containerd says then; `unknown` says that it is not an observation. */
const unknownExit = (containerId: string, { execId, pid }: ContainerProcess): Exit => ({
	containerId,
	execId,
	pid,
	status: 255,
	at: now(),
	unknown: true,
});
