/**
 * containerd.runc.v1.Options in the shim. An OCI runtime and a criu of this test stand in between the shim and runc: they
 * note what they are called with, and "restore" by running the program from its beginning. Whether criu works on this
 * host does not matter here.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, globSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { Cgroup } from "../../shim/cgroup.ts";
import { findExecutable } from "../../shim/oci-runtime.ts";
import { TaskDefinition } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { CheckpointOptions, Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { isExiting } from "../../src/sys/pidfd.ts";
import { execSpec, mkfifo, namespace, ShimHost, until } from "./shim-host.ts";

const runtime = `#!/bin/sh
directory=$(dirname "$0")
stat -L -c %u:%g /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2 | tr '\\n' ' ' >>"$directory/owners"
echo "$@" >>"$directory/calls"
for word; do
	shift
	case $word in
	checkpoint)
		[ "$1" = --help ] && exit "$(cat "$directory/without-criu" 2>/dev/null || echo 0)"
		[ -e "$directory/dump-fails" ] || exit 0
		while [ "$1" != --work-path ]; do shift; done
		echo "(00.01) Error (criu/x.c:1): cannot dump this" >"$2/dump.log"
		exit 1
		;;
	restore) set -- "$@" run ;;
	exec)
		set -- "$@" exec
		[ -e "$directory/init-dies" ] || continue
		init=$(cat "$directory/init-dies")
		kill -9 "$init"
		while grep -qs '^State:.[^Z]' "/proc/$init/status"; do :; done
		echo "setns: No such process" >&2
		exit 1
		;;
	--image-path | --work-path) skip=1 ;;
	*) [ -n "$skip" ] || set -- "$@" "$word"; skip= ;;
	esac
done
exec runc "$@"
`;
const criu = `#!/bin/sh
fault=$(dirname "$0")/criu-fault
[ -e "$fault" ] || exit 0
cat "$fault" >&2
exit 1
`;

const optionsOf = (options: Partial<Options>) => ({
	typeUrl: "containerd.runc.v1.Options",
	value: Options.encode(Options.fromPartial(options)).finish(),
});
const checkpointOptions = (options: Partial<CheckpointOptions>) => ({
	typeUrl: "containerd.runc.v1.CheckpointOptions",
	value: CheckpointOptions.encode(CheckpointOptions.fromPartial(options)).finish(),
});

describe("the runtime options of containerd's shim", {
	skip: findExecutable("runc") === undefined && "runc is not installed",
}, () => {
	let host: ShimHost;
	const file = (name: string) => join(host.directory, "bin", name);
	before(async () => {
		host = await ShimHost.start();
		for (const [name, text] of Object.entries({ runtime, criu })) {
			writeFileSync(file(name), text);
			chmodSync(file(name), 0o755);
		}
		host.environment.PATH = `${join(host.directory, "bin")}:${process.env.PATH}`;
		host.environment.TROUPE_OCI_RUNTIME = file("runtime");
	});
	after(() => host.dispose());
	beforeEach(() => {
		for (const name of ["calls", "owners", "without-criu", "dump-fails", "criu-fault", "init-dies"])
			rmSync(file(name), { force: true });
	});
	const calls = (command: string) =>
		readFileSync(file("calls"), "utf8")
			.split("\n")
			.filter((line) => ` ${line} `.includes(` ${command} `));

	async function create(id: string, args: readonly string[], options: Partial<Options>, stdio = {}) {
		const bundle = host.bundle(id, args);
		const any = optionsOf(options);
		const shard = await host.shard(id, bundle, any);
		await shard.task.create({ id, bundle, options: any, ...stdio }, { namespace });
		return { ...shard, bundle };
	}
	const nameOf = (pid: number) => readFileSync(`/proc/${pid}/comm`, "utf8").trim();
	async function end(task: Awaited<ReturnType<typeof create>>["task"], id: string) {
		await task.kill({ id, signal: 9 });
		await task.wait({ id });
		await task.delete({ id });
	}

	test("io_uid and io_gid own the FIFOs of the init and of execs; /dev/null keeps its owner", async () => {
		const stdio = (name: string) => ({
			stdin: mkfifo(join(host.directory, `${name}-in`)),
			stdout: mkfifo(join(host.directory, `${name}-out`)),
		});
		const { task } = await create("owned", ["sleep", "60"], { ioUid: 1234, ioGid: 2345 }, stdio("init"));
		await task.start({ id: "owned" });
		await task.exec({ id: "owned", execId: "e", spec: execSpec(["sleep", "60"]), ...stdio("exec") });
		await task.start({ id: "owned", execId: "e" });
		const owners = readFileSync(file("owners"), "utf8").trim().split(" ");
		assert.deepEqual(owners.slice(0, 3), ["1234:2345", "1234:2345", "0:0"]);
		assert.deepEqual(owners.slice(-3), ["1234:2345", "1234:2345", "0:0"]);
		await end(task, "owned");
	});

	test("what a runtime of another name has created is started, also by the shard that adopts it", async () => {
		const first = await create("wrapped", ["sleep", "60"], {});
		const { pid } = await first.task.start({ id: "wrapped" });
		await until("the init runs its program", () => nameOf(pid) !== "runc:[2:INIT]");
		await end(first.task, "wrapped");
		const { own, client, bundle } = await create("adopted", ["sleep", "60"], {});
		const gone = client.closed;
		process.kill((await own.info({})).pid, "SIGKILL");
		await gone;
		const next = await host.shard("", bundle);
		await next.own.adopt({ containers: [{ containerId: "adopted", bundle }] });
		assert.equal((await next.task.state({ id: "adopted" })).status, Status.CREATED);
		const started = await next.task.start({ id: "adopted" });
		await until("the adopted init runs its program", () => nameOf(started.pid) !== "runc:[2:INIT]");
		await end(next.task, "adopted");
	});

	test("an exec whose container ends while it is made is FAILED_PRECONDITION, whatever the runtime says", async () => {
		const { task } = await create("ending", ["sleep", "60"], {});
		const { pid } = await task.start({ id: "ending" });
		await task.exec({ id: "ending", execId: "e", spec: execSpec(["true"]) });
		writeFileSync(file("init-dies"), String(pid));
		await assert.rejects(task.start({ id: "ending", execId: "e" }), { code: "FailedPrecondition" });
		assert.equal((await task.wait({ id: "ending" })).exitStatus, 137);
		await task.delete({ id: "ending" });
	});

	test("the same while its init cannot end yet, because a process from outside in its pid namespace is not reaped", async () => {
		const { task } = await create("lingering", ["sleep", "60"], {});
		const { pid } = await task.start({ id: "lingering" });
		await task.exec({ id: "lingering", execId: "e", spec: execSpec(["true"]) });
		// With several threads, as the runtime has, it would be a zombie at once.
		await until("the init runs its program", () => nameOf(pid) !== "runc:[2:INIT]");
		// Its child is in the namespace, and is not reaped by whoever is stopped: the init waits for that in its exit.
		const outsider = spawn("nsenter", ["--target", String(pid), "--pid", "sleep", "60"], { stdio: "ignore" });
		const over = once(outsider, "close");
		try {
			const children = `/proc/${outsider.pid}/task/${outsider.pid}/children`;
			await until("the outsider is in the namespace", () => readFileSync(children, "utf8") !== "");
			outsider.kill("SIGSTOP");
			await task.kill({ id: "lingering", signal: 9 });
			await until("the init waits in its exit", () => isExiting(pid));
			await assert.rejects(task.start({ id: "lingering", execId: "e" }), { code: "FailedPrecondition" });
		} finally {
			outsider.kill("SIGKILL");
			await over;
		}
		assert.equal((await task.wait({ id: "lingering" })).exitStatus, 137);
		await task.delete({ id: "lingering" });
	});

	test("criu_image_path restores although the daemon does not say so; metrics and pids are the restored one's", async () => {
		const options = { criuImagePath: "/images/of/it", criuWorkPath: join(host.directory, "work") };
		const { task } = await create("restored", ["sleep", "60"], options);
		assert.ok(!existsSync(file("calls")), "there is nothing to create");
		const { pid } = await task.start({ id: "restored" });
		const [call = ""] = calls("restore");
		assert.match(call, /--image-path \/images\/of\/it /);
		assert.ok(call.includes(`--work-path ${options.criuWorkPath} `), call);
		assert.ok(existsSync(options.criuWorkPath));
		assert.deepEqual(
			(await task.pids({ id: "restored" })).processes.map((process) => process.pid),
			[pid],
		);
		assert.match((await task.stats({ id: "restored" })).stats?.typeUrl ?? "", /cgroups/);
		await end(task, "restored");
	});

	test("a restored container's shard is killed: the next one restores nothing and has its exit", async () => {
		const { task, own, client, bundle } = await create("heir", ["sleep", "60"], { criuImagePath: "/images" });
		const { pid } = await task.start({ id: "heir" });
		const gone = client.closed;
		process.kill((await own.info({})).pid, "SIGKILL");
		await gone;
		const next = await host.shard("", bundle);
		const { containers } = await next.own.adopt({ containers: [{ containerId: "heir", bundle }] });
		assert.partialDeepStrictEqual(containers, [{ containerId: "heir", pid, problem: "" }]);
		assert.equal((await next.task.state({ id: "heir" })).status, 2);
		assert.equal(calls("restore").length, 1);
		await end(next.task, "heir");
	});

	test("a checkpoint's images and log go where its options say, else the log where the container's options say", async () => {
		const { task } = await create("dumped", ["sleep", "60"], { criuWorkPath: join(host.directory, "default-work") });
		await task.start({ id: "dumped" });
		await task.checkpoint({ id: "dumped", path: join(host.directory, "first") });
		const imagePath = join(host.directory, "second");
		const workPath = join(host.directory, "second-work");
		await task.checkpoint({ id: "dumped", path: "", options: checkpointOptions({ imagePath, workPath, exit: true }) });
		const [first = "", second = ""] = calls("checkpoint");
		assert.ok(
			first.includes(`--image-path ${host.directory}/first --work-path ${host.directory}/default-work `),
			first,
		);
		assert.ok(first.includes("--leave-running"));
		assert.ok(second.includes(`--image-path ${imagePath} --work-path ${workPath} `), second);
		assert.ok(!second.includes("--leave-running"));
		await until(
			"it is told",
			() => host.topics("dumped").filter((topic) => topic === "/tasks/checkpointed").length === 2,
		);
		await end(task, "dumped");
	});

	test("a checkpoint that cannot work here is FAILED_PRECONDITION with the reason; one that fails tells criu's error", async () => {
		const { task } = await create("refused", ["sleep", "60"], {});
		await task.start({ id: "refused" });
		const checkpoint = () => task.checkpoint({ id: "refused", path: join(host.directory, "refused") });
		writeFileSync(file("dump-fails"), "");
		await assert.rejects(checkpoint, { code: "Unknown", message: /cannot dump this/ });
		writeFileSync(
			file("criu-fault"),
			"Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\nError (x): more\n",
		);
		await assert.rejects(checkpoint, { code: "FailedPrecondition", message: /criu does not work.*vdso: Unexpected/ });
		writeFileSync(file("without-criu"), "1");
		await assert.rejects(checkpoint, { code: "FailedPrecondition", message: /built without criu/ });
		assert.equal((await task.state({ id: "refused" })).status, 2);
		await end(task, "refused");
	});

	test("shim_cgroup: those that ask for the same share a shard, which is in it; its heir too; a missing one is refused", async () => {
		const { version } = Cgroup.ofProcess(process.pid);
		const mountPoints = version === 2 ? ["/sys/fs/cgroup"] : globSync("/sys/fs/cgroup/{memory,pids}");
		const shimCgroup = `/${host.cgroup}-shims`;
		const groups = mountPoints.map((mountPoint) => join(mountPoint, shimCgroup));
		for (const group of groups) mkdirSync(group);
		try {
			const inside = await create("inside", ["sleep", "60"], { shimCgroup });
			const beside = await create("beside", ["sleep", "60"], { shimCgroup });
			const outside = await create("outside", ["sleep", "60"], {});
			const pidOf = async ({ own }: typeof inside) => (await own.info({})).pid;
			const shard = await pidOf(inside);
			assert.equal(await pidOf(beside), shard);
			assert.notEqual(await pidOf(outside), shard);
			const members = () => groups.map((group) => readFileSync(join(group, "cgroup.procs"), "utf8").trim());
			assert.deepEqual(
				members(),
				groups.map(() => String(shard)),
				"the shard, and no container",
			);
			const standby = await host.standby();
			const group = (await standby.listShards({})).shards.find(({ pid }) => pid === shard)?.group ?? "";
			const heir = await standby.startShard({ namespace, group, containerId: "", shardSize: 64, fresh: true });
			assert.deepEqual(
				members().map((pids) => pids.split("\n").map(Number).sort()),
				groups.map(() => [shard, heir.pid].sort()),
			);
			const bundle = host.bundle("missing", ["true"]);
			const missing = host.startShim("missing", bundle, optionsOf({ shimCgroup: "/nowhere/at-all" }));
			await assert.rejects(missing, /"\/nowhere\/at-all": does not exist/);
			for (const [id, { task }] of Object.entries({ inside, beside, outside })) {
				await task.start({ id });
				await end(task, id);
			}
			const { shards } = await standby.listShards({});
			for (const { address } of shards.filter((each) => each.group === group)) {
				const client = await host.connect(address);
				const gone = client.closed;
				await client.service(TaskDefinition).shutdown({}, { timeoutMs: 10_000 });
				await gone;
			}
		} finally {
			for (const group of groups) {
				await until("the shards have left", () => readFileSync(join(group, "cgroup.procs"), "utf8") === "");
				rmdirSync(group);
			}
		}
	});
});
