import assert from "node:assert/strict";
import { test } from "node:test";
import type { Tasks } from "../../../actors/task-manager/tasks.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import {
	type CreateTaskRequest,
	CreateTaskRequest as CreateTaskRequestMessage,
	TasksDefinition,
} from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { CheckpointOptions, Options } from "../../gen/containerd/types/runc/options/oci.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { type TaskContainer, taskService } from "./task.service.ts";

const spec = {
	typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
	value: Buffer.from('{"ociVersion":"1.1.0"}'),
};
const web: TaskContainer = { runtime: { name: "io.containerd.runc.v2" }, spec, sandbox: "" };
const request = (changes: Partial<CreateTaskRequest>) =>
	CreateTaskRequestMessage.fromPartial({ containerId: "web", ...changes });

/** The port answers with `answer` and tells what it was asked. */
function client(answer: unknown, container: TaskContainer = web) {
	const asked: unknown[][] = [];
	const tasks = new Proxy({} as Tasks, {
		get:
			(_target, method) =>
			async (...args: unknown[]) => {
				asked.push([method, ...args.slice(0, -1)]);
				if (answer instanceof Error) throw answer;
				return typeof answer === "function" ? answer(method, ...args) : answer;
			},
	});
	const containers = {
		get: (namespace: string, id: string) => {
			if (id === "web") return container;
			throw new DaemonError("NotFound", { kind: "container", namespace, id }, "not found");
		},
	};
	return { asked, tasks: directClient(TasksDefinition, taskService(tasks, containers)) };
}

test("create takes spec, runtime and sandbox from the container's record, mounts and stdio from the request", async () => {
	const { tasks, asked } = client({ pid: 42 }, { ...web, sandbox: "pod" });
	const rootfs = [{ type: "overlay", source: "overlay", target: "", options: ["lowerdir=/l"] }];
	assert.deepEqual(await tasks.create(request({ rootfs, stdout: "/fifo" }), "a"), { containerId: "web", pid: 42 });
	const [, creation] = asked[0] as [string, { spec: Uint8Array; stdio: { stdout: string } }];
	assert.equal(Buffer.from(creation.spec).toString(), '{"ociVersion":"1.1.0"}');
	assert.equal(creation.stdio.stdout, "/fifo");
	assert.partialDeepStrictEqual(creation, {
		namespace: "a",
		id: "web",
		runtime: { name: "io.containerd.runc.v2" },
		rootfs,
		checkpoint: "",
		sandboxId: "pod",
	});
});

test("options and shim of the request go before the record's; runc's options may name a checkpoint", async () => {
	const { tasks, asked } = client({ pid: 1 }, { ...web, runtime: { name: "x", options: spec } });
	const value = Options.encode(Options.fromPartial({ criuImagePath: "/dump" })).finish();
	const options = { typeUrl: "containerd.runc.v1.Options", value };
	await tasks.create(request({ options, runtimePath: "/opt/shim" }), "a");
	await tasks.create(request({}), "a");
	assert.partialDeepStrictEqual(asked[0]?.[1], { runtime: { name: "/opt/shim", options }, checkpoint: "/dump" });
	assert.partialDeepStrictEqual(asked[1]?.[1], {
		runtime: { name: "x", options: { typeUrl: spec.typeUrl } },
		checkpoint: "",
	});
});

test("a task needs its container and a spec; a checkpoint in the content store is not there yet", async () => {
	const { tasks } = client({ pid: 1 }, { ...web, spec: undefined });
	await assert.rejects(tasks.create(request({ containerId: "nope" }), "a"), { code: "NotFound" });
	await assert.rejects(tasks.create(request({}), "a"), { code: "InvalidArgument" });
	const checkpoint = { mediaType: "", digest: "sha256:00", size: 1n, annotations: {} };
	await assert.rejects(tasks.create(request({ checkpoint }), "a"), { code: "Unimplemented" });
	await assert.rejects(tasks.create(request({})), { code: "FailedPrecondition" });
});

test("a process is told with the words and numbers of the wire", async () => {
	const state = {
		namespace: "a",
		id: "web",
		execId: "e",
		pid: 9,
		status: "stopped",
		exitStatus: 137,
		exitedAt: 1_500_000_000n,
		stdin: "",
		stdout: "o",
		stderr: "",
		terminal: true,
		bundle: "",
	};
	const { process } = await client(state).tasks.get({ containerId: "web", execId: "e" }, "a");
	assert.deepEqual(process, {
		containerId: "web",
		id: "e",
		pid: 9,
		status: 3,
		stdin: "",
		stdout: "o",
		stderr: "",
		terminal: true,
		exitStatus: 137,
		exitedAt: { seconds: 1n, nanos: 500_000_000 },
	});
	const listed = await client([{ ...state, execId: "", exitedAt: 0n }]).tasks.list({ filter: "" }, "a");
	assert.equal(listed.tasks[0]?.id, "web");
	assert.equal(listed.tasks[0]?.exitedAt, undefined);
});

test("wait and delete tell the exit", async () => {
	const exit = { exitStatus: 3, exitedAt: 2_000_000_000n, pid: 5 };
	const { tasks } = client(exit);
	const exitedAt = { seconds: 2n, nanos: 0 };
	assert.deepEqual(await tasks.wait({ containerId: "web", execId: "" }, "a"), { exitStatus: 3, exitedAt });
	assert.deepEqual(await tasks.delete({ containerId: "web" }, "a"), { id: "web", pid: 5, exitStatus: 3, exitedAt });
	assert.equal((await tasks.deleteProcess({ containerId: "web", execId: "e" }, "a")).id, "e");
});

test("requests without an answer reach the port with their arguments", async () => {
	const { tasks, asked } = client(undefined);
	const web = { containerId: "web" };
	await tasks.kill({ ...web, execId: "", signal: 9, all: true }, "a");
	await tasks.resizePty({ ...web, execId: "e", width: 80, height: 25 }, "a");
	await tasks.closeIO({ ...web, execId: "e", stdin: true }, "a");
	await tasks.pause(web, "a");
	await tasks.resume(web, "a");
	await tasks.update({ ...web, resources: spec, annotations: { a: "b" } }, "a");
	const task = { namespace: "a", id: "web" };
	assert.deepEqual(asked.slice(0, 5), [
		["kill", { ...task, execId: "" }, { signal: 9, all: true }],
		["resizePty", { ...task, execId: "e" }, { width: 80, height: 25 }],
		["closeIo", { ...task, execId: "e" }, { stdin: true }],
		["pause", task],
		["resume", task],
	]);
	assert.partialDeepStrictEqual(asked[5]?.[2], { annotations: { a: "b" } });
});

test("an exec needs a spec and an id that is an identifier", async () => {
	const { tasks } = client(undefined);
	const exec = { containerId: "web", stdin: "", stdout: "", stderr: "", terminal: false, spec, execId: "e" };
	await tasks.exec(exec, "a");
	await assert.rejects(tasks.exec({ ...exec, execId: "a/b" }, "a"), { code: "InvalidArgument" });
	await assert.rejects(tasks.exec({ ...exec, spec: undefined }, "a"), { code: "InvalidArgument" });
});

test("a checkpoint goes into the directory that the options name", async () => {
	const { tasks, asked } = client(undefined);
	const value = CheckpointOptions.encode(CheckpointOptions.fromPartial({ imagePath: "/dump" })).finish();
	const options = { typeUrl: "containerd.runc.v1.CheckpointOptions", value };
	await tasks.checkpoint({ containerId: "web", parentCheckpoint: "", options }, "a");
	assert.partialDeepStrictEqual(asked[0]?.[2], { path: "/dump" });
	await assert.rejects(tasks.checkpoint({ containerId: "web", parentCheckpoint: "", options: undefined }, "a"), {
		code: "Unimplemented",
	});
});

test("metrics leave out tasks that have none, and those the filter does not want", async () => {
	const { tasks } = client((method: string, task: { id: string }) => {
		if (method === "list") return ["a", "gone", "b", "c"].map((id) => ({ id }));
		if (task.id === "gone") throw new DaemonError("NotFound", { kind: "task", id: "gone" }, "not found");
		return { typeUrl: "io.containerd.cgroups.v1.Metrics", value: new Uint8Array() };
	});
	const { metrics } = await tasks.metrics({ filters: ["id~=^[abg]"] }, "n");
	assert.deepEqual(
		metrics.map(({ id }) => id),
		["a", "b"],
	);
});

test("what the port refuses reaches the caller with its class", async () => {
	const refusal = new DaemonError("NotFound", { kind: "task", namespace: "a", id: "web" }, "process already finished");
	await assert.rejects(
		client(refusal).tasks.kill({ containerId: "web", execId: "", signal: 9, all: false }, "a"),
		refusal,
	);
});
