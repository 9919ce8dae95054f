import type { Runtime, TaskCall, Tasks } from "../../../actors/task-manager/tasks.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { type CreateTaskRequest, TasksDefinition } from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { CheckpointOptions, Options } from "../../gen/containerd/types/runc/options/oci.ts";
import { identifier } from "../../metadata/identifier.ts";
import type { Call } from "../call.ts";
import { type Service, service } from "../rpc.ts";
import { type AnyValue, decodeAny, fromAny, messageName, required, toAny, toTimestamp } from "../wire.ts";
import { toWireProcess } from "./process.ts";
import { taskMetrics } from "./task-metrics.ts";

/** What a task needs of its container's record. */
export interface TaskContainers {
	/** NotFound if there is no such container. */
	get(namespace: string, id: string): TaskContainer | Promise<TaskContainer>;
}

export interface TaskContainer {
	readonly runtime: { readonly name: string; readonly options?: AnyValue | undefined };
	readonly spec?: AnyValue | undefined;
	/** Id of the CRI sandbox; empty for none. */
	readonly sandbox: string;
}

const runcOptions = "containerd.runc.v1.Options";
const checkpointOptions = "containerd.runc.v1.CheckpointOptions";

/**
 * containerd.services.tasks.v1.Tasks. Asks the task actors and translates; publishes nothing.
 * What the task's state refuses is FailedPrecondition, where containerd lets the shim's text through as Unknown.
 */
export const taskService = (tasks: Tasks, containers: TaskContainers): Service =>
	service(TasksDefinition, {
		async create(request, call) {
			const { namespace } = call;
			const { containerId: id } = request;
			const container = await containers.get(namespace, id);
			if (request.checkpoint !== undefined && request.checkpoint.digest !== "")
				throw new DaemonError(
					"Unimplemented",
					{ kind: "task", namespace, id },
					"restoring from a checkpoint in the content store is not there yet: name a directory in the runtime's options (criu_image_path)",
				);
			const runtime = runtimeOf(request, container);
			const { pid } = await tasks.create(
				{
					namespace,
					id,
					spec: specOf(container, namespace, id),
					runtime,
					rootfs: request.rootfs,
					stdio: request,
					checkpoint: checkpointPath(runtime.options),
					...(container.sandbox === "" ? {} : { sandboxId: container.sandbox }),
				},
				limits(call),
			);
			return { containerId: id, pid };
		},

		start: ({ containerId, execId }, call) => tasks.start(processOf(call, containerId, execId), limits(call)),

		async delete({ containerId }, call) {
			const { pid, exitStatus, exitedAt } = await tasks.delete(taskOf(call, containerId), limits(call));
			return { id: containerId, pid, exitStatus, exitedAt: toTimestamp(exitedAt) };
		},

		async deleteProcess({ containerId, execId }, call) {
			const process = processOf(call, containerId, execId);
			const { pid, exitStatus, exitedAt } = await tasks.deleteProcess(process, limits(call));
			return { id: execId === "" ? containerId : execId, pid, exitStatus, exitedAt: toTimestamp(exitedAt) };
		},

		async get({ containerId, execId }, call) {
			return { process: toWireProcess(await tasks.get(processOf(call, containerId, execId), limits(call))) };
		},

		/** The filter is ignored, as in containerd. */
		async list(_request, call) {
			return { tasks: (await tasks.list(call.namespace, limits(call))).map(toWireProcess) };
		},

		async kill({ containerId, execId, signal, all }, call) {
			await tasks.kill(processOf(call, containerId, execId), { signal, all }, limits(call));
			return {};
		},

		async exec({ containerId, execId, spec, stdin, stdout, stderr, terminal }, call) {
			await tasks.exec(
				{
					...processOf(call, containerId, identifier("exec", execId)),
					spec: required(fromAny(spec), "exec", "spec"),
					stdio: { stdin, stdout, stderr, terminal },
				},
				limits(call),
			);
			return {};
		},

		async resizePty({ containerId, execId, width, height }, call) {
			await tasks.resizePty(processOf(call, containerId, execId), { width, height }, limits(call));
			return {};
		},

		async closeIO({ containerId, execId, stdin }, call) {
			await tasks.closeIo(processOf(call, containerId, execId), { stdin }, limits(call));
			return {};
		},

		async pause({ containerId }, call) {
			await tasks.pause(taskOf(call, containerId), limits(call));
			return {};
		},

		async resume({ containerId }, call) {
			await tasks.resume(taskOf(call, containerId), limits(call));
			return {};
		},

		async listPids({ containerId }, call) {
			const processes = await tasks.pids(taskOf(call, containerId), limits(call));
			return { processes: processes.map(({ pid, info }) => ({ pid, info: info && toAny(info) })) };
		},

		/** Dumps into the directory that the options name; a checkpoint as content is not there yet. */
		async checkpoint({ containerId, options }, call) {
			const task = taskOf(call, containerId);
			const given = fromAny(options);
			const path = given === undefined ? "" : decodeAny(CheckpointOptions, checkpointOptions, given).imagePath;
			if (path === "")
				throw new DaemonError(
					"Unimplemented",
					{ kind: "task", ...task },
					"a checkpoint in the content store is not there yet: name a directory (image_path)",
				);
			await tasks.checkpoint(task, { path, options: given }, limits(call));
			return { descriptors: [] };
		},

		async update({ containerId, resources, annotations }, call) {
			const change = { resources: required(fromAny(resources), "task", "resources"), annotations };
			await tasks.update(taskOf(call, containerId), change, limits(call));
			return {};
		},

		async metrics({ filters }, call) {
			return { metrics: await taskMetrics(tasks, call.namespace, filters, limits(call)) };
		},

		async wait({ containerId, execId }, call) {
			const { exitStatus, exitedAt } = await tasks.wait(processOf(call, containerId, execId), limits(call));
			return { exitStatus, exitedAt: toTimestamp(exitedAt) };
		},
	});

const limits = (call: Call): TaskCall => ({
	signal: call.signal,
	...(call.deadline === undefined ? {} : { deadlineMs: call.remainingMs(0) }),
});

const taskOf = (call: Call, id: string) => ({ namespace: call.namespace, id });
const processOf = (call: Call, id: string, execId: string) => ({ namespace: call.namespace, id, execId });

/** The request may name another shim, or other options, than the container's record. */
function runtimeOf(request: CreateTaskRequest, { runtime }: TaskContainer): Runtime {
	const name = request.runtimePath === "" ? runtime.name : request.runtimePath;
	const options = fromAny(request.options) ?? runtime.options;
	return options === undefined ? { name } : { name, options };
}

function specOf({ spec }: TaskContainer, namespace: string, id: string): Uint8Array {
	if (spec === undefined || spec.value.length === 0)
		throw new DaemonError("InvalidArgument", { kind: "container", namespace, id }, "has no runtime spec");
	return spec.value;
}

/** runc's options may name a directory with a criu image to restore from. */
const checkpointPath = (options: AnyValue | undefined): string =>
	options !== undefined && messageName(options.typeUrl) === runcOptions
		? decodeAny(Options, runcOptions, options).criuImagePath
		: "";
