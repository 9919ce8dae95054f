import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { findExecutable } from "../../shim/oci-runtime.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { Metrics } from "../../src/gen/containerd/cgroups/v1/metrics.ts";
import { execSpec, mkfifo, namespace, ShimHost, until } from "./shim-host.ts";

const code = (expected: string) => (error: unknown) => {
	assert.ok(error instanceof DaemonError, String(error));
	assert.equal(error.code, expected, error.message);
	return true;
};

for (const runtime of ["crun", "runc"])
	describe(`shim with ${runtime}`, {
		skip: findExecutable(runtime) === undefined && `${runtime} is not installed`,
	}, () => {
		let host: ShimHost;
		before(async () => {
			host = await ShimHost.start({ TROUPE_OCI_RUNTIME: runtime });
		});
		after(() => host.dispose());

		async function create(id: string, args: readonly string[], options = {}) {
			const bundle = host.bundle(id, args, options);
			const shard = await host.shard(id, bundle);
			const { pid } = await shard.task.create({ id, bundle }, { namespace });
			return { ...shard, bundle, pid };
		}

		test("create, start, wait, delete: the exit status arrives everywhere, in order", async () => {
			const { task, pid } = await create("life", ["sh", "-c", "exit 42"]);
			assert.ok(pid > 1);
			const created = await task.state({ id: "life" });
			assert.equal(created.status, 1);
			assert.equal(created.pid, pid);
			const exit = task.wait({ id: "life" });
			assert.equal((await task.start({ id: "life" })).pid, pid);
			assert.equal((await exit).exitStatus, 42);
			assert.equal((await task.state({ id: "life" })).status, 3);
			const deleted = await task.delete({ id: "life" });
			assert.equal(deleted.exitStatus, 42);
			assert.equal(deleted.pid, pid);
			await until("events", () => host.topics("life").length === 4);
			assert.deepEqual(host.topics("life"), ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
			await assert.rejects(task.state({ id: "life" }), code("NotFound"));
		});

		test("requests that the state cannot take are refused with the state's name", async () => {
			const { task, bundle } = await create("states", ["sleep", "60"]);
			await assert.rejects(task.create({ id: "states", bundle }), code("AlreadyExists"));
			await assert.rejects(task.pause({ id: "states" }), /while it is created/);
			await assert.rejects(task.checkpoint({ id: "states", path: "/tmp/x" }), code("FailedPrecondition"));
			await task.start({ id: "states" });
			await assert.rejects(task.start({ id: "states" }), code("FailedPrecondition"));
			await assert.rejects(task.delete({ id: "states" }), /cannot be deleted while it is running/);
			await assert.rejects(task.start({ id: "states", execId: "none" }), code("NotFound"));
			await assert.rejects(task.state({ id: "states" }, { namespace: "other" }), code("NotFound"));
			await task.kill({ id: "states", signal: 9 });
			assert.equal((await task.wait({ id: "states" })).exitStatus, 137);
			await assert.rejects(task.kill({ id: "states", signal: 9 }), /process already finished/);
			await task.delete({ id: "states" });
		});

		test("a created container is deleted without being started", async () => {
			const { task } = await create("unstarted", ["sleep", "60"]);
			assert.equal((await task.delete({ id: "unstarted" })).exitStatus, 137);
		});

		test("a container that cannot be created leaves nothing", async () => {
			const bundle = host.bundle("broken", ["/nonexistent"]);
			const { task } = await host.shard("broken", bundle);
			const outcome = await task
				.create({ id: "broken", bundle })
				.then(
					() => task.start({ id: "broken" }),
					(error: unknown) => Promise.reject(error),
				)
				.then(
					() => "started",
					(error: unknown) => String(error),
				);
			assert.match(outcome, /nonexistent/);
			await task.delete({ id: "broken" }).catch((error: unknown) => code("NotFound")(error));
			await assert.rejects(task.state({ id: "broken" }), code("NotFound"));
		});

		test("exec: added, started, exits with its own status", async () => {
			const { task } = await create("exec", ["sleep", "60"]);
			await task.start({ id: "exec" });
			await task.exec({ id: "exec", execId: "one", spec: execSpec(["sh", "-c", "exit 7"]) });
			await assert.rejects(task.exec({ id: "exec", execId: "one", spec: execSpec(["true"]) }), code("AlreadyExists"));
			assert.equal((await task.state({ id: "exec", execId: "one" })).status, 1);
			const { pid } = await task.start({ id: "exec", execId: "one" });
			assert.equal((await task.wait({ id: "exec", execId: "one" })).exitStatus, 7);
			const deleted = await task.delete({ id: "exec", execId: "one" });
			assert.deepEqual([deleted.exitStatus, deleted.pid], [7, pid]);
			await task.exec({ id: "exec", execId: "bad", spec: execSpec(["/nonexistent"]) });
			await assert.rejects(task.start({ id: "exec", execId: "bad" }), /nonexistent/);
			await task.delete({ id: "exec", execId: "bad" });
			await task.exec({ id: "exec", execId: "long", spec: execSpec(["sleep", "60"]) });
			const long = await task.start({ id: "exec", execId: "long" });
			const { processes } = await task.pids({ id: "exec" });
			const info = processes.find(({ pid }) => pid === long.pid)?.info;
			assert.equal(info?.typeUrl, "containerd.runc.v1.ProcessDetails");
			await task.kill({ id: "exec", signal: 9, all: true });
			assert.equal((await task.wait({ id: "exec" })).exitStatus, 137);
			assert.equal((await task.wait({ id: "exec", execId: "long" })).exitStatus, 137);
			await task.delete({ id: "exec" });
			await until("delete is told", () => host.topics("exec").includes("/tasks/delete"));
			const topics = host.topics("exec").filter((topic) => topic.startsWith("/tasks/exec"));
			assert.deepEqual(topics.slice(0, 2), ["/tasks/exec-added", "/tasks/exec-started"]);
			assert.equal(host.exits("exec").length, 3);
		});

		test("pause, resume, update, stats", async () => {
			const { task } = await create("controls", ["sleep", "60"], { memory: 64 << 20 });
			await task.start({ id: "controls" });
			await task.pause({ id: "controls" });
			assert.equal((await task.state({ id: "controls" })).status, 4);
			await task.resume({ id: "controls" });
			const resources = { typeUrl: "x", value: Buffer.from(JSON.stringify({ memory: { limit: 48 << 20 } })) };
			await task.update({ id: "controls", resources });
			const { stats } = await task.stats({ id: "controls" });
			assert.ok(stats !== undefined);
			if (stats.typeUrl === "io.containerd.cgroups.v1.Metrics")
				assert.equal(Metrics.decode(stats.value).memory?.usage?.limit, 48n << 20n);
			await task.pause({ id: "controls" });
			await task.kill({ id: "controls", signal: 9 });
			assert.equal((await task.wait({ id: "controls" })).exitStatus, 137);
			await task.delete({ id: "controls" });
		});

		test("an OOM kill is reported once, before the exit", async () => {
			// One process: of several the kernel may kill two, and each is a kill to be reported.
			const { task } = await create("oom", ["tail", "/dev/zero"], { memory: 16 << 20 });
			await task.start({ id: "oom" });
			assert.equal((await task.wait({ id: "oom" })).exitStatus, 137);
			await until("exit is told", () => host.topics("oom").includes("/tasks/exit"));
			assert.deepEqual(
				host.topics("oom").filter((topic) => topic !== "/tasks/create"),
				["/tasks/start", "/tasks/oom", "/tasks/exit"],
			);
			await task.delete({ id: "oom" });
		});

		test("a container without a pid namespace of its own takes its processes with it", async () => {
			const { task } = await create("shared", ["sh", "-c", "sleep 61 & exit 3"], { hostPids: true });
			await task.start({ id: "shared" });
			assert.equal((await task.wait({ id: "shared" })).exitStatus, 3);
			await task.delete({ id: "shared" });
		});

		test("execs leave no descriptor, no process and no file behind", async () => {
			const { task, own, bundle } = await create("soak", ["sleep", "60"]);
			await task.start({ id: "soak" });
			const open = async (): Promise<number> => readdirSync(`/proc/${(await own.info({})).pid}/fd`).length;
			const exec = async (execId: string): Promise<void> => {
				await task.exec({ id: "soak", execId, spec: execSpec(["true"]), stdout: mkfifo(join(bundle, "out")) });
				await task.start({ id: "soak", execId });
				await task.wait({ id: "soak", execId });
				await task.delete({ id: "soak", execId });
			};
			await exec("first");
			const [descriptors, files] = [await open(), readdirSync(bundle).length];
			for (let round = 0; round < 10; round++)
				await Promise.all(Array.from({ length: 4 }, (_, index) => exec(`e${round}-${index}`)));
			assert.equal(await open(), descriptors);
			assert.equal(readdirSync(bundle).length, files);
			await task.kill({ id: "soak", signal: 9 });
			await task.wait({ id: "soak" });
			await task.delete({ id: "soak" });
		});

		test("the exit follows the start, however short the life", async () => {
			const ids = Array.from({ length: 5 }, (_, index) => `short${index}`);
			await Promise.all(
				ids.map(async (id) => {
					const { task } = await create(id, ["true"]);
					await task.start({ id });
					await task.wait({ id });
					await task.delete({ id });
				}),
			);
			for (const id of ids) {
				await until("delete is told", () => host.topics(id).includes("/tasks/delete"));
				assert.deepEqual(host.topics(id), ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
			}
		});
	});
