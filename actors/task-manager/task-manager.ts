import type { ProcessContext } from "../../machines/process.machine.ts";
import { type TaskContext, taskLimits } from "../../machines/task-messages.ts";
import type { Envelope } from "../../src/gen/containerd/types/event.ts";
import type { Reader, Store } from "../../src/metadata/store/store.ts";
import { type ChildSpec, restoredChild, supervisorChild } from "../kernel/child-spec.ts";
import type { System } from "../kernel/system.ts";
import { processActor, processIdentity } from "../process/process.actor.ts";
import type { Bundles } from "../task/bundle.ts";
import { discardEverywhere, type TaskShims, taskActor } from "../task/task.actor.ts";
import { ActorTasks } from "./actor-tasks.ts";
import { contentOf } from "./process-state.ts";
import { takeFact } from "./task-facts.ts";
import { processActorId, supervisorId, type TaskRegistry, taskActorId, taskIdentity } from "./task-registry.ts";
import type { AnyValue, TaskCreation, Tasks } from "./tasks.ts";
import type { Witness } from "./witness.ts";

export interface TaskManagerOptions {
	readonly system: System;
	readonly store: Store;
	/** Started before, with the same registry for its residents. */
	readonly shims: TaskShims;
	readonly registry: TaskRegistry;
	readonly bundles: Bundles;
	readonly witness: Witness;
	readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
}

export interface TaskManager {
	readonly tasks: Tasks;
	/**
	 * What shims forward by ttrpc. Resolves with true when it is durable (the acknowledgement), with false for what is not
	 * about tasks, and rejects when it was not taken: the shim repeats it.
	 */
	readonly forward: (envelope: Envelope) => Promise<boolean>;
	/**
	 * Resolves when every task's shim has said what became of it, or could not within a limit. Before that the socket for
	 * clients stays closed; the one for shims should be open, so that they can tell what they have kept.
	 */
	reconciled(): Promise<void>;
	/** Removes the bundles, and what shims hold of them, that no actor answers for. Once, after {@link reconciled}. */
	sweep(signal: AbortSignal): Promise<void>;
}

/** Longest time that a start-up waits for the shims' answers. */
const reconcileMs = taskLimits.reconcile * 2;
const lookAgainMs = 10;
const restarts = { intensity: 100, periodMs: 10_000 };
/** States in which an actor of an earlier daemon still has to learn what became of its process. */
const unsettled: ReadonlySet<string> = new Set(["reconciling", "creating", "adding", "discarding"]);

/**
 * Starts the supervisor `/task-manager`, with an actor for each task (`<namespace>/<id>`) and each exec
 * (`<namespace>/<id>/<exec id>`) that has a record; they ask their shims at once.
 */
export async function startTaskManager(options: TaskManagerOptions): Promise<TaskManager> {
	const { system, store, shims, registry, bundles, witness, warn } = options;
	const creations = new Map<string, TaskCreation>();
	const specs = new Map<string, AnyValue>();
	const taskLogic = taskActor({
		shims,
		bundles,
		witness,
		warn,
		creation: (task) => creations.get(taskActorId(task)),
		endProcesses(task, exitedAt) {
			for (const process of registry.processesOf(task)) void process.tell({ type: "task.deleted", exitedAt });
		},
	});
	const processLogic = processActor({
		witness,
		bundle: (task) => bundles.path(task),
		spec: (process) => specs.get(processActorId(process)),
		connection: (task) => shims.connection(task.namespace, registry.context(task).shim),
		reach: async (task, ms, signal) => shims.reach(task.namespace, registry.context(task).shim, ms, signal),
	});
	const restored = (reader: Reader): readonly ChildSpec[] =>
		[...reader.entries("v1/")].flatMap(([key, record]): ChildSpec[] => {
			const [, , object] = key.split("/");
			if (object === "task") {
				const task = contentOf<TaskContext>(record)?.context;
				if (task === undefined) return [];
				const identity = taskIdentity(task);
				return [restoredChild({ id: taskActorId(task), logic: taskLogic, identity, restart: "transient" })];
			}
			if (object === "process") {
				const process = contentOf<ProcessContext>(record)?.context;
				if (process === undefined) return [];
				const identity = processIdentity(process);
				return [restoredChild({ id: processActorId(process), logic: processLogic, identity, restart: "transient" })];
			}
			return [];
		});
	// Read before their first message changes the records.
	const before = restored(store).map(({ id }) => id);
	await system.root.start(
		supervisorChild({ id: supervisorId, supervisor: { strategy: "one_for_one", ...restarts, children: restored } }),
	);

	return {
		tasks: new ActorTasks({ registry, store, bundles, shims, taskLogic, processLogic, creations, specs }),
		forward: (envelope) =>
			takeFact(envelope, {
				task: (task) => registry.findTask(task),
				process: (process) => registry.findProcess(process),
			}),
		reconciled: () => reconciled(options, new Set(before)),
		sweep: (signal) => sweep(options, signal),
	};
}

async function reconciled(
	{ system, registry, warn }: TaskManagerOptions,
	restored: ReadonlySet<string>,
): Promise<void> {
	const open = (): readonly string[] => {
		const unsettledNow = [...registry.states()].filter(({ state }) => unsettled.has(state)).map(({ actor }) => actor);
		return [...restored].filter((actor) => unsettledNow.includes(actor) || isBusy(system, actor));
	};
	const end = system.clock.monotonic() + reconcileMs;
	while (open().length > 0) {
		if (system.clock.monotonic() >= end) {
			warn({ tasks: open() }, "these tasks' shims have not said what became of them");
			return;
		}
		await new Promise<void>((resolve) => system.clock.after(lookAgainMs, resolve));
	}
}

/** Whether a restored actor's record may still show the state before the restart. */
function isBusy(system: System, actor: string): boolean {
	const found = system.inspectOne(`/${supervisorId}/${actor}`);
	return (
		found?.node === "actor" &&
		(found.status === "starting" || found.status === "committing" || found.mailbox.system > 0)
	);
}

async function sweep({ registry, bundles, shims, warn }: TaskManagerOptions, signal: AbortSignal): Promise<void> {
	for (const task of await bundles.list()) {
		if (signal.aborted) return;
		if (registry.findTask(task) !== undefined) continue;
		try {
			await discardEverywhere({ shims, bundles }, task, await shims.locate(task), undefined, signal);
			warn({ ...task }, "removed a bundle that no task owns");
		} catch (reason) {
			warn({ ...task, reason: String(reason) }, "a bundle that no task owns could not be removed");
		}
	}
}
