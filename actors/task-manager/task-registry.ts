import type { ProcessContext, processMachine } from "../../machines/process.machine.ts";
import type { ShimFact } from "../../machines/process-facts.ts";
import type { taskMachine } from "../../machines/task.machine.ts";
import type { TaskContext } from "../../machines/task-messages.ts";
import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import type { RefOf } from "../kernel/child-spec.ts";
import type { SupervisorRef } from "../kernel/supervisor-ref.ts";
import type { System } from "../kernel/system.ts";
import { processIdentity, processKey } from "../process/process.actor.ts";
import type { Residents } from "../shims/shims.ts";
import { taskKey } from "../task/task.actor.ts";
import { contentOf } from "./process-state.ts";
import type { ProcessIdentity, TaskIdentity } from "./tasks.ts";

export type TaskRef = RefOf<typeof taskMachine>;
export type ProcessRef = RefOf<typeof processMachine>;

export const supervisorId = "task-manager";
/** Ids of the actors below `/task-manager`; namespaces, containers and execs have no slash in their ids. */
export const taskActorId = ({ namespace, id }: TaskIdentity): string => `${namespace}/${id}`;
export const processActorId = ({ namespace, id, execId }: ProcessIdentity): string => `${namespace}/${id}/${execId}`;
export const taskIdentity = ({ namespace, id }: TaskIdentity): ObjectIdentity => ({ kind: "task", namespace, id });

/** Finds the actors of tasks and execs, and their records. */
export class TaskRegistry implements Residents {
	readonly #system: System;
	readonly #store: Store;

	constructor(system: System, store: Store) {
		this.#system = system;
		this.#store = store;
	}

	get supervisor(): SupervisorRef {
		const supervisor = this.#system.supervisor(`/${supervisorId}`);
		if (supervisor === undefined)
			throw new DaemonError("Unavailable", { kind: "supervisor", id: `/${supervisorId}` }, "is not running");
		return supervisor;
	}

	findTask(task: TaskIdentity): TaskRef | undefined {
		return this.supervisor.find<TaskRef>(taskActorId(task));
	}

	findProcess(process: ProcessIdentity): ProcessRef | undefined {
		return this.supervisor.find<ProcessRef>(processActorId(process));
	}

	/** NotFound if the container has no task. */
	task(task: TaskIdentity): TaskRef {
		const found = this.findTask(task);
		if (found === undefined) throw new DaemonError("NotFound", taskIdentity(task), "not found");
		return found;
	}

	/** The actor of the init (without an exec id) or of an exec; NotFound if there is none. */
	process(process: ProcessIdentity): TaskRef | ProcessRef {
		if (process.execId === "") return this.task(process);
		this.task(process);
		const found = this.findProcess(process);
		if (found === undefined) throw new DaemonError("NotFound", processIdentity(process), "not found");
		return found;
	}

	processesOf(task: TaskIdentity): readonly ProcessRef[] {
		const prefix = `${taskActorId(task)}/`;
		return [...this.#store.entries(processKey({ namespace: task.namespace, id: `${task.id}/` }))].flatMap(
			([, record]) => {
				const { execId = "" } = contentOf<ProcessContext>(record)?.context ?? {};
				return this.supervisor.find<ProcessRef>(`${prefix}${execId}`) ?? [];
			},
		);
	}

	/** The facts that the task's actor keeps. NotFound if the container has no task. */
	context(task: TaskIdentity): TaskContext {
		const content = contentOf<TaskContext>(this.#store.get(taskKey(task)));
		if (content === undefined) throw new DaemonError("NotFound", taskIdentity(task), "not found");
		return content.context;
	}

	/** State names of all tasks and execs. */
	*states(): Iterable<{ readonly actor: string; readonly state: string }> {
		for (const actor of this.supervisor.ids()) {
			const [namespace = "", id = "", execId] = actor.split("/");
			const key = execId === undefined ? taskKey({ namespace, id }) : processKey({ namespace, id: `${id}/${execId}` });
			const content = contentOf(this.#store.get(key));
			if (content !== undefined) yield { actor, state: content.value };
		}
	}

	of(namespace: string, shim: string): readonly { readonly id: string; readonly bundle: string }[] {
		return [...this.#store.entries(taskKey({ namespace, id: "" }))].flatMap(([, record]) => {
			const context = contentOf<TaskContext>(record)?.context;
			return context?.shim === shim ? [{ id: context.id, bundle: context.bundle }] : [];
		});
	}

	async tell(task: TaskIdentity, fact: ShimFact): Promise<void> {
		await Promise.all([this.findTask(task)?.tell(fact), ...this.processesOf(task).map((ref) => ref.tell(fact))]);
	}
}
