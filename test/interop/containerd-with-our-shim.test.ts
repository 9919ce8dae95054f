/** Debian's containerd and ctr with our shim as the runtime io.containerd.troupe.v2. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { ShimHost, until } from "../integration/shim-host.ts";

const containerd = "/usr/bin/containerd";
const missing = [containerd, "/usr/bin/ctr"].filter((file) => !existsSync(file));

describe("our shim under containerd", { skip: missing.length > 0 && `${missing} not installed` }, () => {
	let host: ShimHost;
	let daemon: ChildProcess;
	let socket: string;

	before(async () => {
		host = await ShimHost.start();
		await host.stopDaemon(); // containerd serves this address itself
		socket = host.address;
		const config = join(host.directory, "config.toml");
		writeFileSync(
			config,
			`version = 2
root = ${JSON.stringify(join(host.directory, "root-dir"))}
state = ${JSON.stringify(join(host.directory, "state-dir"))}
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = ${JSON.stringify(socket)}
[ttrpc]
  address = ${JSON.stringify(`${socket}.ttrpc`)}
`,
		);
		mkdirSync(join(host.directory, "tmp"));
		const { TTRPC_ADDRESS: _, ...environment } = host.environment;
		daemon = spawn(containerd, ["--config", config], {
			stdio: "ignore",
			env: { ...environment, PATH: `${join(host.directory, "bin")}:${process.env.PATH}` },
		});
		await until("containerd serves", () => existsSync(socket) && existsSync(`${socket}.ttrpc`), 20_000);
		assert.ok(existsSync(host.program));
	});
	after(async () => {
		const gone = new Promise((resolve) => daemon.once("exit", resolve));
		daemon.kill("SIGTERM");
		await gone;
		await host.dispose();
	});

	/** A container whose root is the host's busybox tree: no image is needed. */
	async function ctr(...words: readonly string[]): Promise<string> {
		const running = promisify(execFile)("/usr/bin/ctr", ["--address", socket, "--namespace", "interop", ...words], {
			timeout: 30_000,
		});
		running.child.stdin?.end();
		return (await running).stdout;
	}
	const root = () => join(host.directory, "root");
	const run = (id: string, flags: readonly string[], ...args: readonly string[]) =>
		ctr(
			"run",
			"--runtime",
			"io.containerd.troupe.v2",
			"--cgroup",
			`/${host.cgroup}/${id}`,
			...flags,
			"--rootfs",
			root(),
			id,
			...args,
		);

	test("ctr run: output and exit status, and no task is left", async () => {
		assert.equal(await run("hello", ["--rm"], "/bin/echo", "hello from troupe"), "hello from troupe\n");
		const failure = await run("fails", ["--rm"], "/bin/sh", "-c", "exit 17").then(
			() => assert.fail("exit status lost"),
			(error: { code: number }) => error,
		);
		assert.equal(failure.code, 17);
		assert.equal((await ctr("tasks", "list", "-q")).trim(), "");
	});

	test("a detached task: list, exec, pause, resume, metrics, kill, delete", async () => {
		await run("detached", ["--detach"], "/bin/sleep", "60");
		assert.match(await ctr("tasks", "list"), /detached\s+\d+\s+RUNNING/);
		assert.equal(await ctr("tasks", "exec", "--exec-id", "e", "detached", "/bin/echo", "from exec"), "from exec\n");
		await ctr("tasks", "pause", "detached");
		assert.match(await ctr("tasks", "list"), /PAUSED/);
		await ctr("tasks", "resume", "detached");
		assert.match(await ctr("tasks", "metrics", "detached"), /memory/);
		assert.match(await ctr("tasks", "ps", "detached"), /\d+/);
		await ctr("tasks", "kill", "--signal", "SIGKILL", "detached");
		await ctr("tasks", "delete", "--force", "detached");
		await ctr("containers", "delete", "detached");
	});

	test("a shard that is killed: containerd calls delete, and nothing is left of its tasks", async () => {
		await run("victim", ["--detach"], "/bin/sleep", "60");
		const standby = await host.standby();
		const { shards } = await standby.listShards({});
		assert.equal(shards.length, 1);
		assert.deepEqual(shards[0]?.containers, ["victim"]);
		process.kill(shards[0]?.pid ?? 0, "SIGKILL");
		const left = async () => [
			...(await standby.listOrphans({})).orphans,
			...(await ctr("tasks", "list", "-q")).split("\n").filter((id) => id === "victim"),
		];
		const deadline = Date.now() + 20_000;
		while ((await left()).length > 0) assert.ok(Date.now() < deadline, "containerd's delete has not come");
		await ctr("containers", "delete", "victim");
	});
});
