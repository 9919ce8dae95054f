/** A shim that does what a test tells it, behind the port that tasks call; and a daemon's worth of actors around it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import { TaskExit, TaskOOM } from "../../src/gen/containerd/events/task.ts";
import type { StateResponse } from "../../src/gen/containerd/runtime/task/v3/shim.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import { type Clock, systemClock } from "../kernel/clock.ts";
import { type System, startSystem } from "../kernel/system.ts";
import type { ShimConnection, TaskClient } from "../shims/shim-connection.ts";
import { Bundles } from "../task/bundle.ts";
import type { TaskShims } from "../task/task.actor.ts";
import { timestampOf } from "../task/task-events.ts";
import { startTaskManager, type TaskManager } from "./task-manager.ts";
import { TaskRegistry } from "./task-registry.ts";
import type { TaskCreation, TaskIdentity } from "./tasks.ts";
import type { Watch, Witness, WitnessedExit } from "./witness.ts";

type Method = keyof TaskClient;

interface ShimProcess {
	pid: number;
	status: Status;
	exitStatus: number;
	exitedAt: bigint;
}

/** Everything in it is one shim, `shard-1` unless a container was adopted. */
export class ScriptedShim implements TaskShims {
	readonly calls: string[] = [];
	readonly processes = new Map<string, ShimProcess>();
	/** What happens instead of, or before, a method; each is used once, in order. */
	readonly #scripts = new Map<Method, (() => void | Promise<void>)[]>();
	/** How the present test reports facts. */
	report: TaskManager["forward"] = async () => true;
	name = "shard-1";
	connected = true;
	#nextPid = 100;
	#nextTime = 1_000n;

	/** The method's next call runs this first; a throw is its answer. */
	next(method: Method, script: () => void | Promise<void>): void {
		this.#scripts.set(method, [...(this.#scripts.get(method) ?? []), script]);
	}

	refuse(method: Method, code: ErrorCode, problem = "scripted"): void {
		this.next(method, () => {
			throw new DaemonError(code, { kind: "shim", id: this.name }, problem);
		});
	}

	arrived(): void {}

	async clear({ id }: TaskIdentity): Promise<void> {
		this.calls.push(`clear ${id}`);
	}

	/** The process ends and the shim reports it, as often as asked. Resolves with the acknowledgements. */
	async exit(id: string, exitStatus = 0, execId = "", times = 1): Promise<boolean[]> {
		const process = this.process(id, execId);
		if (process.status !== Status.STOPPED)
			Object.assign(process, { status: Status.STOPPED, exitStatus, exitedAt: this.#nextTime++ });
		const envelope = this.exitOf(id, execId);
		return await Promise.all(Array.from({ length: times }, () => this.report(envelope)));
	}

	exitOf(id: string, execId = "") {
		const { pid, exitStatus, exitedAt } = this.process(id, execId);
		const exit = { containerId: id, id: execId === "" ? id : execId, pid, exitStatus, exitedAt: timestampOf(exitedAt) };
		const value = TaskExit.encode(TaskExit.fromPartial(exit)).finish();
		return {
			timestamp: timestampOf(exitedAt),
			namespace: "default",
			topic: "/tasks/exit",
			event: { typeUrl: "containerd.events.TaskExit", value },
		};
	}

	oom(id: string, at: bigint): Promise<boolean> {
		const value = TaskOOM.encode({ containerId: id }).finish();
		const event = { typeUrl: "containerd.events.TaskOOM", value };
		return this.report({ timestamp: timestampOf(at), namespace: "default", topic: "/tasks/oom", event });
	}

	process(id: string, execId = ""): ShimProcess {
		const found = this.processes.get(`${id}/${execId}`);
		if (found === undefined)
			throw new DaemonError("NotFound", { kind: "task", namespace: "default", id }, "not in this shim");
		return found;
	}

	// ---- TaskShims

	async assign({ bundleReady }: { bundleReady: Promise<void> }) {
		await bundleReady;
		return { shim: this.name, connection: this.connection("default", this.name) };
	}

	connection(namespace: string, shim: string): ShimConnection {
		if (!this.connected)
			throw new DaemonError("Unavailable", { kind: "shim", namespace, id: shim }, "is not connected");
		return { task: this.#client, shard: {} as never, close: () => {} };
	}

	async reach(namespace: string, shim: string): Promise<ShimConnection> {
		return this.connection(namespace, shim);
	}

	async locate({ id }: { id: string }): Promise<string | undefined> {
		return this.processes.has(`${id}/`) ? this.name : undefined;
	}

	release(): void {}

	readonly #client = new Proxy({} as TaskClient, {
		get: (_, method) => async (request: { id: string; execId?: string; checkpoint?: string }) => {
			const name = method as Method;
			this.calls.push(`${name} ${request.id}${request.execId ? `/${request.execId}` : ""}`);
			await this.#scripts.get(name)?.shift()?.();
			return this.#answer(name, request.id, request.execId ?? "", request.checkpoint ?? "");
		},
	});

	#answer(method: Method, id: string, execId: string, checkpoint: string): unknown {
		switch (method) {
			case "create": // a container that starts from a checkpoint has no process before
				this.processes.set(`${id}/`, {
					pid: checkpoint === "" ? this.#nextPid++ : 0,
					status: Status.CREATED,
					exitStatus: 0,
					exitedAt: 0n,
				});
				return { pid: this.process(id).pid };
			case "exec":
				this.processes.set(`${id}/${execId}`, { pid: 0, status: Status.CREATED, exitStatus: 0, exitedAt: 0n });
				return {};
			case "start": {
				const process = this.process(id, execId);
				if (process.status === Status.CREATED) process.status = Status.RUNNING;
				if (process.pid === 0) process.pid = this.#nextPid++;
				return { pid: process.pid };
			}
			case "pause":
				this.process(id).status = Status.PAUSED;
				return {};
			case "resume":
				this.process(id).status = Status.RUNNING;
				return {};
			case "kill": {
				const process = this.process(id, execId);
				if (process.status === Status.STOPPED)
					throw new DaemonError("NotFound", { kind: "task", id }, "process already finished");
				this.exit(id, 137, execId).catch(() => {}); // kept, until the next State or report
				return {};
			}
			case "delete":
				this.process(id, execId);
				this.processes.delete(`${id}/${execId}`);
				return { pid: 0, exitStatus: 0, exitedAt: undefined };
			case "state": {
				const { pid, status, exitStatus, exitedAt } = this.process(id, execId);
				const none = { id, execId, bundle: "", stdin: "", stdout: "", stderr: "", terminal: false, unknown: false };
				return { ...none, pid, status, exitStatus, exitedAt: timestampOf(exitedAt) } satisfies StateResponse;
			}
			case "wait":
				return { exitStatus: this.process(id, execId).exitStatus, exitedAt: undefined };
			default:
				this.process(id, execId);
				return {};
		}
	}
}

/** A witness that sees what the test shows it. */
export class ScriptedWitness implements Witness {
	readonly watched = new Map<number, (exit: WitnessedExit, isFinal: boolean) => void>();
	isThere = () => false;
	/** Pids whose exits were wanted at once. */
	readonly hurried: number[] = [];
	watch(pid: number, seen: (exit: WitnessedExit, isFinal: boolean) => void): Watch {
		this.watched.set(pid, seen);
		return { stop: () => void this.watched.delete(pid), hurry: () => void this.hurried.push(pid) };
	}
}

export interface World {
	readonly system: System;
	readonly manager: TaskManager;
	readonly registry: TaskRegistry;
	readonly shim: ScriptedShim;
	readonly witness: ScriptedWitness;
	readonly bundles: Bundles;
	readonly warnings: string[];
	/** Topics of the events in the journal, with the exec id or the exit status behind an exit. */
	events(): Promise<string[]>;
	stop(): Promise<void>;
}

export interface Places {
	readonly directory: string;
	remove(): Promise<void>;
}

export async function temporaryPlaces(): Promise<Places> {
	const directory = await mkdtemp(join(tmpdir(), "troupe-tasks-"));
	return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
}

/** Starts the actors on a store; a second world on the same store is a restarted daemon. */
export async function openWorld(
	store: Store,
	{ directory }: Places,
	shim = new ScriptedShim(),
	clock: Clock = systemClock,
): Promise<World> {
	const warnings: string[] = [];
	const warn = (fields: Readonly<Record<string, unknown>>, message: string) =>
		warnings.push(
			`${message}: ${JSON.stringify(fields, (_, value) => (typeof value === "bigint" ? `${value}` : value))}`,
		);
	const bundles = new Bundles({
		state: join(directory, "state"),
		root: join(directory, "root"),
		unmount: () => {},
	});
	const system = await startSystem({ store, clock, root: { strategy: "one_for_one" } });
	const registry = new TaskRegistry(system, store);
	const witness = new ScriptedWitness();
	const manager = await startTaskManager({ system, store, shims: shim, registry, bundles, witness, warn });
	shim.report = manager.forward;
	return {
		system,
		manager,
		registry,
		shim,
		witness,
		bundles,
		warnings,
		events: async () =>
			(await store.journal.read(0, 10_000))
				.filter(({ kind }) => kind === "event")
				.map(({ subject, body }) => {
					const { value } = body as { value: Uint8Array };
					if (subject !== "/tasks/exit") return subject;
					const { containerId, id, exitStatus } = TaskExit.decode(value);
					return `${subject}${id === containerId ? "" : ` ${id}`} ${exitStatus}`;
				}),
		stop: () => system.stop(),
	};
}

export const creationOf = (id: string): TaskCreation => ({
	namespace: "default",
	id,
	spec: Buffer.from('{"ociVersion":"1.0.2"}'),
	runtime: { name: "io.containerd.troupe.v2" },
	rootfs: [{ type: "bind", source: "/nowhere", target: "", options: ["rbind", "ro"] }],
	stdio: { stdin: "", stdout: "/fifo/out", stderr: "", terminal: false },
	checkpoint: "",
});
