import { taskLimits } from "../../machines/task-messages.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { Store, Value } from "../../src/metadata/store/store.ts";
import type { AskOptions } from "../kernel/actor-ref.ts";
import { child } from "../kernel/child-spec.ts";
import { type processActor, processIdentity, processKey } from "../process/process.actor.ts";
import type { ShimConnection } from "../shims/shim-connection.ts";
import type { Bundles } from "../task/bundle.ts";
import { type TaskShims, type taskActor, taskKey } from "../task/task.actor.ts";
import { execStateOf, taskStateOf } from "./process-state.ts";
import { processActorId, type TaskRegistry, taskActorId, taskIdentity } from "./task-registry.ts";
import type {
	AnyValue,
	DeletedProcess,
	ExecCreation,
	ProcessExit,
	ProcessIdentity,
	ProcessInfo,
	ProcessState,
	TaskCall,
	TaskCreation,
	TaskIdentity,
	Tasks,
} from "./tasks.ts";

export interface ActorTasksOptions {
	readonly registry: TaskRegistry;
	readonly store: Store;
	readonly bundles: Bundles;
	readonly shims: TaskShims;
	readonly taskLogic: ReturnType<typeof taskActor>;
	readonly processLogic: ReturnType<typeof processActor>;
	/** What additions and creations under way were asked for, by actor id; the actors read it. */
	readonly creations: Map<string, TaskCreation>;
	readonly specs: Map<string, AnyValue>;
}

/** Where the caller sets no deadline: longer than any wait of the machines with an adoption before it. */
const askMs = taskLimits.create + taskLimits.discard + taskLimits.adoption;
/** A wait without a deadline: 100 years. */
const forEverMs = 100 * 365 * 86_400_000;
/** Questions that a shim answers beside the mailbox, because they change nothing. */
const queryMs = 10_000;
/** Turns of the event loop in which an actor that has ended is forgotten. */
const forgetTurns = 100;
/** Shims that may die one after the other while an exec waits. */
const heldTries = 3;

/** The Tasks port on actors: each request goes through the mailbox of its task or exec. */
export class ActorTasks implements Tasks {
	readonly #options: ActorTasksOptions;
	readonly #registry: TaskRegistry;

	constructor(options: ActorTasksOptions) {
		this.#options = options;
		this.#registry = options.registry;
	}

	async create(task: TaskCreation, call: TaskCall): Promise<{ readonly pid: number }> {
		const { bundles, creations, taskLogic } = this.#options;
		const actor = taskActorId(task);
		await this.#requireFree(actor, taskKey(task));
		if (creations.has(actor)) throw new DaemonError("AlreadyExists", taskIdentity(task), "is being created");
		creations.set(actor, task);
		try {
			const { namespace, id, runtime, stdio } = task;
			const { stdin, stdout, stderr, terminal } = stdio;
			const input = {
				namespace,
				id,
				runtime: runtime.name,
				bundle: bundles.path(task),
				stdin,
				stdout,
				stderr,
				terminal,
			};
			const identity = taskIdentity(task);
			const ref = await this.#registry.supervisor.start(
				child({ id: actor, logic: taskLogic, identity, restart: "transient", input }),
			);
			return answer<{ pid: number }>(await ref.ask({ type: "create" }, limits(call)));
		} finally {
			creations.delete(actor);
		}
	}

	async start(process: ProcessIdentity, call: TaskCall): Promise<{ readonly pid: number }> {
		return answer<{ pid: number }>(await this.#registry.process(process).ask({ type: "start" }, limits(call)));
	}

	delete(task: TaskIdentity, call: TaskCall): Promise<DeletedProcess> {
		return this.deleteProcess({ ...task, execId: "" }, call);
	}

	async deleteProcess({ namespace, id, execId }: ProcessIdentity, call: TaskCall): Promise<DeletedProcess> {
		const process = { namespace, id, execId };
		const exit = await this.#registry.process(process).ask({ type: "delete" }, limits(call));
		return { ...process, ...answer<ProcessExit & { pid: number }>(exit) };
	}

	async exec(process: ExecCreation, call: TaskCall): Promise<void> {
		const { specs, processLogic } = this.#options;
		const { namespace, id, execId, stdio, spec } = process;
		await this.#untilHeld(process, call);
		const status = this.#statusOf(process);
		if (status === undefined) throw new DaemonError("NotFound", taskIdentity(process), "not found");
		if (status !== "running" && status !== "created")
			throw new DaemonError("FailedPrecondition", taskIdentity(process), `cannot exec in a ${status} task`);
		const actor = processActorId(process);
		const identity = processIdentity(process);
		await this.#requireFree(actor, processKey(identity));
		if (specs.has(actor)) throw new DaemonError("AlreadyExists", identity, "is being added");
		specs.set(actor, spec);
		try {
			const { stdin, stdout, stderr, terminal } = stdio;
			const input = { namespace, id, execId, stdin, stdout, stderr, terminal };
			const ref = await this.#registry.supervisor.start(
				child({ id: actor, logic: processLogic, identity, restart: "transient", input }),
			);
			await ref.ask({ type: "add" }, limits(call));
		} finally {
			specs.delete(actor);
		}
	}

	async get(process: ProcessIdentity): Promise<ProcessState> {
		const { store } = this.#options;
		const task = taskStateOf(store.get(taskKey(process)));
		if (task === undefined) throw new DaemonError("NotFound", taskIdentity(process), "not found");
		if (process.execId === "") return task;
		const identity = processIdentity(process);
		const exec = execStateOf(store.get(processKey(identity)), task.bundle);
		if (exec === undefined) throw new DaemonError("NotFound", identity, "not found");
		return exec;
	}

	async list(namespace: string): Promise<readonly ProcessState[]> {
		return [...this.#options.store.entries(taskKey({ namespace, id: "" }))].flatMap(
			([, record]) => taskStateOf(record) ?? [],
		);
	}

	async kill(process: ProcessIdentity, kill: { signal: number; all: boolean }, call: TaskCall): Promise<void> {
		const { signal, all } = kill;
		await this.#registry.process(process).ask({ type: "kill", signal, all }, limits(call));
	}

	async pause(task: TaskIdentity, call: TaskCall): Promise<void> {
		await this.#registry.task(task).ask({ type: "pause" }, limits(call));
	}

	async resume(task: TaskIdentity, call: TaskCall): Promise<void> {
		await this.#registry.task(task).ask({ type: "resume" }, limits(call));
	}

	async pids({ namespace, id }: TaskIdentity, call: TaskCall): Promise<readonly ProcessInfo[]> {
		const { processes } = await this.#query({ namespace, id }, call, ({ task }, options) => task.pids({ id }, options));
		return processes;
	}

	async resizePty(process: ProcessIdentity, size: { width: number; height: number }, call: TaskCall): Promise<void> {
		const { width, height } = size;
		await this.#registry.process(process).ask({ type: "resizePty", width, height }, limits(call));
	}

	async closeIo(process: ProcessIdentity, { stdin }: { stdin: boolean }, call: TaskCall): Promise<void> {
		await this.#registry.process(process).ask({ type: "closeIo", stdin }, limits(call));
	}

	async checkpoint(
		task: TaskIdentity,
		{ path, options }: { path: string; options?: AnyValue | undefined },
		call: TaskCall,
	): Promise<void> {
		const given = { typeUrl: options?.typeUrl ?? "", options: options?.value ?? new Uint8Array() };
		await this.#registry.task(task).ask({ type: "checkpoint", path, ...given }, limits(call));
	}

	async update(
		task: TaskIdentity,
		{ resources, annotations }: { resources: AnyValue; annotations: Readonly<Record<string, string>> },
		call: TaskCall,
	): Promise<void> {
		const { typeUrl, value } = resources;
		const change = { typeUrl, resources: value, annotations: { ...annotations } };
		await this.#registry.task(task).ask({ type: "update", ...change }, limits(call));
	}

	async metrics({ namespace, id }: TaskIdentity, call: TaskCall): Promise<AnyValue> {
		const { stats } = await this.#query({ namespace, id }, call, ({ task }, options) => task.stats({ id }, options));
		if (stats === undefined) throw new DaemonError("NotFound", taskIdentity({ namespace, id }), "has no metrics");
		return stats;
	}

	async wait(process: ProcessIdentity, call: TaskCall): Promise<ProcessExit> {
		const exit = await this.#registry.process(process).ask({ type: "wait" }, limits(call, forEverMs));
		const { exitStatus, exitedAt } = answer<ProcessExit>(exit);
		return { exitStatus, exitedAt };
	}

	/** Changes nothing, so it needs no turn in the mailbox and no record in the journal. */
	async #query<T>(
		task: TaskIdentity,
		{ deadlineMs = queryMs, signal }: TaskCall,
		ask: (connection: ShimConnection, options: { timeoutMs: number; namespace: string }) => Promise<T>,
	): Promise<T> {
		const { namespace } = task;
		const connection = this.#options.shims.connection(namespace, this.#registry.context(task).shim);
		const timeoutMs = Math.min(deadlineMs, queryMs);
		return ask(connection, { timeoutMs, namespace, ...(signal === undefined ? {} : { signal }) });
	}

	#statusOf(task: TaskIdentity) {
		return taskStateOf(this.#options.store.get(taskKey(task)))?.status;
	}

	#isReachable({ namespace, id }: TaskIdentity): boolean {
		try {
			this.#options.shims.connection(namespace, this.#registry.context({ namespace, id }).shim);
			return true;
		} catch {
			return false; // why not is told by whoever calls it
		}
	}

	/**
	 * Waits while an heir of the task's dead shim is on the way, and while the end of a connection is not yet known to be
	 * the end of its shim. What comes of it shows in the task's state.
	 */
	async #untilHeld(task: TaskIdentity, call: TaskCall): Promise<void> {
		const { signal = AbortSignal.timeout(queryMs) } = call;
		const isOpen = () => this.#statusOf(task) === "running" && !this.#isReachable(task);
		for (let attempt = 0; attempt < heldTries; attempt++) {
			if (this.#statusOf(task) === "unknown") await this.#registry.task(task).ask({ type: "exec" }, limits(call));
			if (!isOpen()) return;
			const { shim } = this.#registry.context(task);
			await this.#options.shims.reach(task.namespace, shim, queryMs, signal).catch(() => undefined);
			for (let turn = 0; turn < forgetTurns && isOpen(); turn++) await new Promise((resolve) => setImmediate(resolve));
		}
	}

	/** AlreadyExists while an actor of this name lives. One that has ended is forgotten within a few turns. */
	async #requireFree(actor: string, key: string): Promise<void> {
		const { store } = this.#options;
		const { supervisor } = this.#registry;
		for (let turn = 0; turn < forgetTurns && supervisor.find(actor) !== undefined; turn++) {
			if (store.get(key) !== undefined) break;
			await new Promise((resolve) => setImmediate(resolve));
		}
		if (supervisor.find(actor) === undefined) return;
		const [namespace = "", id = "", execId] = actor.split("/");
		const identity =
			execId === undefined ? taskIdentity({ namespace, id }) : processIdentity({ namespace, id, execId });
		throw new DaemonError("AlreadyExists", identity, "already exists");
	}
}

const limits = ({ deadlineMs, signal }: TaskCall, fallback: number = askMs): AskOptions => ({
	deadlineMs: deadlineMs ?? fallback,
	...(signal === undefined ? {} : { signal }),
});

/** The value of a machine's reply, whose fields the machine's file names. */
const answer = <T>(value: Value): T => value as unknown as T;
