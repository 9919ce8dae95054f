import { DaemonError } from "../src/errors/daemon-error.ts";
import { type StateResponse, TaskDefinition } from "../src/gen/containerd/runtime/task/v2/shim.ts";
import { CheckpointOptions, ProcessDetails } from "../src/gen/containerd/types/runc/options/oci.ts";
import type { Any } from "../src/gen/google/protobuf/any.ts";
import { type Handlers, type Implementation, implementation, type ServerCall } from "../src/ttrpc/server.ts";
import { checkpointCommand } from "./checkpoint-command.ts";
import type { Container } from "./container.ts";
import { requireCriu } from "./criu.ts";
import { deleteProcess } from "./delete-container.ts";
import type { Exit } from "./exit.ts";
import { metricsOf } from "./metrics.ts";
import type { ContainerProcess } from "./process.ts";
import { toWireStatus } from "./process-status.ts";
import type { Shard } from "./shard.ts";
import { toTimestamp } from "./time.ts";

/** The version of the task API that Connect tells (the Go shim says the same). */
const apiVersion = "v2";

/** containerd.task.v2.Task, and v3, which differs in its name only. */
export function taskServices(shard: Shard): readonly Implementation[] {
	const handlers = handlersOf(shard);
	return [
		implementation(TaskDefinition, handlers),
		implementation(TaskDefinition, handlers, "containerd.task.v3.Task"),
	];
}

function handlersOf(shard: Shard): Handlers<typeof TaskDefinition> {
	const containerOf = async ({ id }: { readonly id: string }, call: ServerCall): Promise<Container> => {
		shard.requireNamespace(call.namespace, id);
		await shard.settled(id);
		return shard.container(id);
	};
	const processOf = async (
		request: { readonly id: string; readonly execId: string },
		call: ServerCall,
	): Promise<ContainerProcess> => (await containerOf(request, call)).process(request.execId);
	return {
		async create(request, call) {
			shard.requireNamespace(call.namespace, request.id);
			return { pid: (await shard.create(request, call.timeoutMs)).init.pid };
		},
		async start(request, call) {
			return { pid: await (await containerOf(request, call)).start(request.execId, call.timeoutMs) };
		},
		async delete(request, call) {
			const container = await containerOf(request, call);
			const { pid, exit } = await deleteProcess(container, request.execId, call.timeoutMs);
			if (request.execId === "") shard.forget(container);
			return { pid, ...exitFields(exit) };
		},
		async exec({ id, execId, terminal, stdin, stdout, stderr, spec }, call) {
			const container = await containerOf({ id }, call);
			if (spec === undefined)
				throw new DaemonError("InvalidArgument", container.identity, "exec without a process spec");
			await container.addExec(execId, { stdin, stdout, stderr, terminal }, spec.value);
			return {};
		},
		async state(request, call) {
			const container = await containerOf(request, call);
			return stateOf(container, container.process(request.execId), request.execId);
		},
		async pause(request, call) {
			await (await containerOf(request, call)).pause(call.timeoutMs);
			return {};
		},
		async resume(request, call) {
			await (await containerOf(request, call)).resume(call.timeoutMs);
			return {};
		},
		async kill(request, call) {
			await (await containerOf(request, call)).kill(request.execId, request.signal, request.all);
			return {};
		},
		pids: async (request, call) => ({ processes: pidsOf(await containerOf(request, call)) }),
		async closeIO(request, call) {
			const process = await processOf(request, call);
			if (request.stdin) {
				await shard.standby.releaseStdin(request.id, request.execId);
				process.stdio?.closeStdin();
			}
			return {};
		},
		async checkpoint(request, call) {
			const container = await containerOf(request, call);
			requireCriu(container.identity);
			const options = CheckpointOptions.decode(request.options?.value ?? new Uint8Array(0));
			await container.checkpoint(checkpointCommand(request.path, options, container.criuWorkPath), call.timeoutMs);
			return {};
		},
		async update(request, call) {
			const container = await containerOf(request, call);
			if (request.resources !== undefined) await container.update(request.resources.value, call.timeoutMs);
			return {};
		},
		async resizePty(request, call) {
			(await processOf(request, call)).stdio?.resize(request.width, request.height);
			return {};
		},
		async wait(request, call) {
			const exit = await (await processOf(request, call)).wait(call.signal);
			return { exitStatus: exit.status, exitedAt: toTimestamp(exit.at) };
		},
		async stats(request, call) {
			const container = await containerOf(request, call);
			if (container.cgroup === undefined || container.init.exit !== undefined)
				throw new DaemonError("NotFound", container.identity, "has no control group: it does not run");
			return { stats: metricsOf(container.cgroup) };
		},
		connect: (request) => ({
			shimPid: process.pid,
			// Before the creation too: containerd asks for the shim's pid at once.
			taskPid: shard.find(request.id)?.init.pid ?? 0,
			version: apiVersion,
		}),
		async shutdown() {
			await shard.shutdown();
			return {};
		},
	};
}

const exitFields = (exit: Exit | undefined) => ({
	exitStatus: exit?.status ?? 0,
	exitedAt: exit === undefined ? undefined : toTimestamp(exit.at),
});

function stateOf({ id, bundle }: Container, process: ContainerProcess, execId: string): StateResponse {
	const { pid, status, paths, exit } = process;
	const unknown = exit?.unknown ?? false;
	return { id, bundle, pid, status: toWireStatus(status), ...paths, ...exitFields(exit), execId, unknown };
}

function pidsOf(container: Container): { pid: number; info: Any | undefined }[] {
	const execs = new Map([...container.execs.values()].map(({ pid, execId }) => [pid, execId]));
	return (container.cgroup?.pids() ?? []).map((pid) => {
		const execId = execs.get(pid);
		if (execId === undefined) return { pid, info: undefined };
		const value = ProcessDetails.encode({ execId }).finish();
		return { pid, info: { typeUrl: "containerd.runc.v1.ProcessDetails", value } };
	});
}
