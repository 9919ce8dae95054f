/** What Debian's `ctr` does with tasks: one list for every pairing of a daemon and a shim. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { connectGrpc } from "../../src/daemon/grpc-client.test-fixture.ts";
import { ContainersDefinition } from "../../src/gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../../src/gen/containerd/services/snapshots/v1/snapshots.ts";
import { CreateTaskRequest, TasksDefinition } from "../../src/gen/containerd/services/tasks/v1/tasks.ts";
import { CheckpointOptions, Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { parentOf } from "../../src/sys/pidfd.ts";
import { watchCtrEvents } from "../fixtures/ctr-events.ts";
import { DaemonUnderTest, type Outcome, type Program, run } from "../fixtures/daemon-under-test.ts";
import { eventually, within } from "../fixtures/deadline.ts";

/** A daemon with a shim. */
export interface Peer {
	readonly daemon: Program;
	/** Added to the daemon's configuration. */
	readonly config?: string;
	/** `ctr run --runtime`. */
	readonly runtime: string;
	/** Files without which this pairing cannot be tried. */
	readonly needs: readonly string[];
	/** What becomes of a task when its shim is killed: another shim adopts it, or the daemon has the shim's binary end it. */
	readonly killedShim: "is adopted" | "ends";
	/** Whether the daemon still lists a task whose shim was killed, with its exit (containerd forgets it). */
	readonly keepsEnded: boolean;
	/** Whether the shim is ours: then what cannot be done is FAILED_PRECONDITION. */
	readonly ownShim: boolean;
}

const exitMs = 30_000;

/** Declares the tests of the list for one pairing; `more` declares those that only this pairing has. */
export function taskList(title: string, peer: Peer, more: (daemon: () => DaemonUnderTest) => void = () => {}): void {
	const missing = ["/usr/bin/ctr", "/bin/busybox", ...peer.needs].filter((file) => !existsSync(file));
	const skip =
		process.getuid?.() !== 0 ? "real containers need root" : missing.length > 0 && `not installed: ${missing}`;

	describe(title, { skip }, () => {
		let daemon: DaemonUnderTest;

		before(async () => {
			daemon = await DaemonUnderTest.open(peer.config, peer.daemon);
			await ctr("images", "pull", "--plain-http", daemon.image.reference);
		});
		after(() => daemon.close());

		/** Every test takes its own containers away; those of a failed one must not disturb the next. */
		afterEach(async () => {
			const forgotten = (await ctr("containers", "list", "-q")).split("\n").filter(Boolean);
			for (const id of forgotten) {
				await daemon.ctr("tasks", "delete", "--force", id);
				await daemon.ctr("containers", "delete", id);
			}
			assert.deepEqual(forgotten, [], "containers are left");
			let left: readonly string[] = [];
			await eventually(20_000, "nothing is left of the containers", () => {
				left = leftovers();
				return left.length === 0 || undefined;
			}).catch((error: unknown) => assert.deepEqual(left, [], String(error)));
		});

		const leftovers = (): readonly string[] => {
			const idle = daemon.shims().map((pid) => `process ${pid}:`);
			return daemon.leftovers().filter((line) => !idle.some((shim) => line.startsWith(shim)));
		};

		/** ctr's output; its failure is the test's. */
		async function ctr(...words: readonly string[]): Promise<string> {
			const { code, stdout, stderr } = await daemon.ctr(...words);
			assert.equal(code, 0, `ctr ${words.join(" ")}: ${stderr}\n${daemon.log.slice(-3000)}`);
			return stdout;
		}

		const runWords = (id: string, flags: readonly string[], args: readonly string[]): readonly string[] => [
			...["run", "--runtime", peer.runtime, ...flags, daemon.image.reference, id],
			...args,
		];
		const foreground = (id: string, flags: readonly string[], ...args: readonly string[]): Promise<Outcome> =>
			daemon.ctr(...runWords(id, ["--rm", ...flags], args));

		/** Starts a task in the background; answers with its pid. */
		async function start(id: string, ...args: readonly string[]): Promise<number> {
			const shared = ["--mount", `type=bind,src=${daemon.directory},dst=/mnt,options=rbind:ro`];
			await ctr(...runWords(id, ["--detach", ...shared], args));
			const { pid } = await task(id);
			return pid;
		}
		const sleeper = (id: string): Promise<number> => start(id, "sleep", "100000");

		/** Ends with the code when the file `go` appears beside the daemon's socket. */
		const waiter = (id: string, code: number): Promise<number> =>
			start(id, "sh", "-c", `while [ ! -e /mnt/go ]; do sleep 0.05; done; exit ${code}`);

		async function find(id: string): Promise<{ readonly pid: number; readonly status: string } | undefined> {
			const rows = (await ctr("tasks", "list")).split("\n").map((line) => line.trim().split(/\s+/));
			const row = rows.find(([name]) => name === id);
			return row && { pid: Number(row[1]), status: row[2] ?? "" };
		}
		async function task(id: string) {
			const found = await find(id);
			assert.ok(found, `no task ${id}`);
			return found;
		}
		const untilStatus = (id: string, status: string) =>
			eventually(exitMs, `${id} is ${status}`, async () => (await find(id))?.status === status || undefined);

		/** The code that ctr tells of a stopped task when it deletes it; takes its container away too. */
		async function deleted(id: string): Promise<number> {
			const { code, stderr } = await daemon.ctr("tasks", "delete", id);
			assert.equal(code, 0, stderr);
			await ctr("containers", "delete", id);
			return Number(/exit with non-zero exit code (\d+)/.exec(stderr)?.[1] ?? 0);
		}
		/** Kills, waits and deletes. */
		async function killed(id: string): Promise<number> {
			await ctr("tasks", "kill", "--signal", "SIGKILL", id);
			await untilStatus(id, "STOPPED");
			return deleted(id);
		}

		const exec = (id: string, execId: string, flags: readonly string[], ...args: readonly string[]) =>
			daemon.ctr("tasks", "exec", "--exec-id", execId, ...flags, id, ...args);

		/** ctr on a terminal of its own. */
		const onTerminal = (...words: readonly string[]): Promise<Outcome> => {
			const all = ["ctr", "--address", daemon.socket, "--namespace", daemon.namespace, ...words];
			const quoted = all.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
			const script = ["--quiet", "--return", "--command", `stty cols 91 rows 33; ${quoted}`, "/dev/null"];
			return within(exitMs, "ctr ends", () => run("script", script));
		};

		const alive = (pid: number): boolean =>
			existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
		const untilGone = (pid: number) =>
			eventually(exitMs, `process ${pid} has ended`, () => {
				try {
					return !alive(pid) || undefined;
				} catch {
					return true; // it ended while we looked
				}
			});

		test("run: the container's output, its errors and its exit code are ctr's", async () => {
			const outcome = await foreground("run", [], "sh", "-c", "echo out; echo err >&2; exit 17");
			assert.equal(outcome.code, 17, outcome.stderr);
			assert.equal(outcome.stdout, "out\n");
			assert.match(outcome.stderr, /^err$/m);
			assert.equal((await foreground("run", [], "true")).code, 0, "the name is free again");
		});

		test("run: long output arrives whole", async () => {
			const { code, stdout } = await foreground("long", [], "seq", "1", "50000");
			assert.equal(code, 0);
			assert.equal(stdout, Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join(""));
		});

		test("run: what ctr reads reaches the container, and its end too", async () => {
			const flags = ["--address", daemon.socket, "--namespace", daemon.namespace];
			const child = spawn("ctr", [...flags, ...runWords("input", ["--rm"], ["cat"])], {
				stdio: ["pipe", "pipe", "inherit"],
			});
			const ended = once(child, "close");
			let output = "";
			child.stdout.on("data", (chunk: Buffer) => (output += chunk));
			child.stdin.write("first\n");
			// Not earlier: ctr tells the daemon of an end only once it has the answer to its creation.
			await eventually(exitMs, "it comes back", () => output === "first\n" || undefined);
			child.stdin.end("second\n");
			const [code] = await within(exitMs, "ctr ends", () => ended);
			assert.deepEqual([code, output], [0, "first\nsecond\n"]);
		});

		test("run: a program that does not exist is an error, and nothing is left", async () => {
			const { code, stderr } = await foreground("absent", [], "/nonexistent");
			assert.notEqual(code, 0);
			assert.match(stderr, /nonexistent/);
		});

		test("run and exec on a terminal: the container has one, of ctr's size, and the exit code arrives", async () => {
			// ctr tells its terminal's size after the start.
			const words = [
				"sh",
				"-c",
				"until stty size | grep '33 91'; do sleep 0.05; done 2>/dev/null; test -t 0 && exit 5",
			];
			const first = await onTerminal(...runWords("terminal", ["--rm", "--tty"], words));
			assert.match(first.stdout, /33 91/);
			assert.equal(first.code, 5, first.stdout);
			await sleeper("terminal");
			const second = await onTerminal("tasks", "exec", "--tty", "--exec-id", "t", "terminal", ...words);
			assert.match(second.stdout, /33 91/);
			assert.equal(second.code, 5, second.stdout);
			assert.equal(await killed("terminal"), 137);
		});

		test("exec: its output and its exit code are ctr's, and the task goes on", async () => {
			await sleeper("exec");
			const first = await exec("exec", "one", [], "sh", "-c", "echo from exec; exit 9");
			assert.deepEqual([first.code, first.stdout], [9, "from exec\n"]);
			assert.equal((await exec("exec", "one", [], "true")).code, 0, "the exec's name is free again");
			assert.notEqual((await exec("exec", "bad", [], "/nonexistent")).code, 0);
			assert.equal((await task("exec")).status, "RUNNING");
			assert.equal(await killed("exec"), 137);
		});

		test("pause and resume: the status is told, and a paused container does not run", async () => {
			const pid = await start("pause", "sh", "-c", "while :; do :; done");
			await ctr("tasks", "pause", "pause");
			assert.equal((await task("pause")).status, "PAUSED");
			const before = processorTime(pid);
			await ctr("tasks", "list");
			assert.equal(processorTime(pid), before);
			await ctr("tasks", "resume", "pause");
			assert.equal((await task("pause")).status, "RUNNING");
			await eventually(exitMs, "it runs again", () => processorTime(pid) > before || undefined);
			assert.equal(await killed("pause"), 137);
		});

		test("ps and metrics: the processes with their execs, and the control group's numbers", async () => {
			const pid = await sleeper("numbers");
			await ctr("tasks", "exec", "--detach", "--exec-id", "second", "numbers", "sleep", "100000");
			const processes = (await ctr("tasks", "ps", "numbers")).trim().split("\n").slice(1);
			assert.equal(processes.length, 2);
			assert.ok(processes.some((line) => Number(line.trim().split(/\s+/)[0]) === pid));
			assert.ok(
				processes.some((line) => /second/.test(line)),
				processes.join("\n"),
			);
			assert.match(await ctr("tasks", "metrics", "numbers"), /memory\.usage/);
			const metrics = JSON.parse(await ctr("tasks", "metrics", "--format", "json", "numbers")) as {
				pids: { current: number };
			};
			assert.equal(metrics.pids.current, 2);
			assert.equal(await killed("numbers"), 137);
		});

		test("update: a new limit is the control group's (ctr has no word for it: the API)", async () => {
			const pid = await sleeper("update");
			using client = connectGrpc(daemon.socket);
			const value = Buffer.from(JSON.stringify({ memory: { limit: 48 << 20 }, pids: { limit: 77 } }));
			const typeUrl = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";
			const request = { containerId: "update", resources: { typeUrl, value }, annotations: {} };
			await client.service(TasksDefinition).update(request, { namespace: daemon.namespace, timeoutMs: exitMs });
			assert.equal(controlFile(pid, "memory", ["memory.limit_in_bytes", "memory.max"]), String(48 << 20));
			assert.equal(controlFile(pid, "pids", ["pids.max"]), "77");
			assert.equal(await killed("update"), 137);
		});

		test("kill: the signal arrives, and the container decides its code", async () => {
			const pid = await start(
				"signal",
				"sh",
				"-c",
				"trap 'exit 41' USR1; touch /tmp/ready; while :; do sleep 0.05; done",
			);
			await eventually(exitMs, "the trap is set", () => existsSync(`/proc/${pid}/root/tmp/ready`) || undefined);
			await ctr("tasks", "kill", "--signal", "SIGUSR1", "signal");
			await untilStatus("signal", "STOPPED");
			assert.notEqual((await daemon.ctr("tasks", "kill", "signal-none")).code, 0);
			assert.equal(await deleted("signal"), 41);
		});

		test("kill --all: the signal reaches every process of the container, kill --exec-id only one", async () => {
			await sleeper("all");
			for (const name of ["a", "b", "c"])
				await ctr("tasks", "exec", "--detach", "--exec-id", name, "all", "sleep", "100000");
			const count = async () => (await ctr("tasks", "ps", "all")).trim().split("\n").length - 1;
			assert.equal(await count(), 4);
			await ctr("tasks", "kill", "--exec-id", "b", "--signal", "SIGTERM", "all");
			await eventually(exitMs, "one exec has ended", async () => (await count()) === 3 || undefined);
			// An init without a handler is deaf to SIGTERM: it is the execs that end.
			await ctr("tasks", "kill", "--all", "--signal", "SIGTERM", "all");
			await eventually(exitMs, "all execs have ended", async () => (await count()) === 1 || undefined);
			assert.equal((await task("all")).status, "RUNNING");
			assert.equal(await killed("all"), 137);
		});

		test("delete: a running task is refused, and deleted by force", async () => {
			await sleeper("delete");
			assert.notEqual((await daemon.ctr("tasks", "delete", "delete")).code, 0);
			assert.equal((await task("delete")).status, "RUNNING");
			await ctr("tasks", "delete", "--force", "delete");
			await ctr("containers", "delete", "delete");
		});

		for (const signal of ["SIGTERM", "SIGKILL"] as const)
			test(`restart of the daemon after ${signal}: tasks run on, exec, exits meanwhile are seen with their codes`, async () => {
				const running = await sleeper("runs-on");
				const paused = await sleeper("paused");
				await ctr("tasks", "pause", "paused");
				const codes = [23, 0, 41];
				const pids = await Promise.all(codes.map((code) => waiter(`gone-${code}`, code)));
				await (signal === "SIGKILL" ? daemon.kill() : daemon.stop());
				const go = join(daemon.directory, "go");
				writeFileSync(go, "");
				try {
					for (const pid of pids) await untilGone(pid);
				} finally {
					rmSync(go);
					await daemon.start();
				}
				assert.deepEqual(await task("runs-on"), { pid: running, status: "RUNNING" });
				assert.deepEqual(await task("paused"), { pid: paused, status: "PAUSED" });
				const outcome = await exec("runs-on", "later", [], "sh", "-c", "echo later; exit 6");
				assert.deepEqual([outcome.code, outcome.stdout], [6, "later\n"]);
				for (const code of codes) {
					await untilStatus(`gone-${code}`, "STOPPED");
					assert.equal(await deleted(`gone-${code}`), code);
				}
				await ctr("tasks", "resume", "paused");
				assert.equal(await killed("paused"), 137);
				assert.equal(await killed("runs-on"), 137);
			});

		test(`a killed shim: its task ${peer.killedShim}, its exit is told once, and nothing is left`, async () => {
			const provoke = () => ctr("namespaces", "label", daemon.namespace, `provoked=${Date.now()}`);
			await using events = await watchCtrEvents(daemon.socket, provoke);
			const pid = await sleeper("victim");
			const shim = parentOf(pid);
			assert.ok(shim !== undefined && shim > 1);
			process.kill(shim, "SIGKILL");
			if (peer.killedShim === "is adopted") {
				const { code, stdout, stderr } = await exec("victim", "later", [], "echo", "adopted");
				assert.deepEqual([code, stdout, stderr], [0, "adopted\n", ""]);
				assert.deepEqual(await task("victim"), { pid, status: "RUNNING" });
				await ctr("tasks", "kill", "--signal", "SIGKILL", "victim");
			}
			await untilGone(pid);
			await eventually(exitMs, "the exit is told", () => events.exits("victim").length > 0 || undefined);
			if (peer.keepsEnded) {
				await untilStatus("victim", "STOPPED");
				assert.equal(await deleted("victim"), 137);
			} else {
				await eventually(
					exitMs,
					"the task is forgotten",
					async () => (await find("victim")) === undefined || undefined,
				);
				await ctr("containers", "delete", "victim");
			}
			// The daemon serves on; and whatever would be told twice has been told by the end of another life.
			assert.equal((await foreground("after-victim", [], "true")).code, 0);
			await eventually(exitMs, "the next exit is told", () => events.exits("after-victim").length > 0 || undefined);
			assert.deepEqual(events.exits("victim"), [137]);
		});

		const obstacle = criuObstacle();
		test("checkpoint without a working criu: refused with the reason, and the task runs on", {
			skip: obstacle === undefined && "criu works here",
		}, async () => {
			const pid = await sleeper("kept");
			const images = join(daemon.directory, "images");
			const { code, stderr } = await daemon.ctr("tasks", "checkpoint", "--image-path", images, "kept");
			assert.notEqual(code, 0);
			if (peer.ownShim) assert.match(stderr, /criu.*: failed precondition/);
			else assert.match(stderr, /criu/);
			assert.deepEqual(await task("kept"), { pid, status: "RUNNING" });
			assert.equal(await killed("kept"), 137);
		});

		test("checkpoint with --exit and restore: the task ends, and its successor goes on where it was", {
			skip: obstacle !== undefined && `no working criu on this host (${obstacle})`,
		}, async () => {
			const count = "i=0; while :; do i=$((i+1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; done";
			const words = [daemon.image.reference, "dumped", "sh", "-c", count];
			await ctr("containers", "create", "--runtime", peer.runtime, "--", ...words); // else it takes -c for its own
			using client = connectGrpc(daemon.socket);
			const call = { namespace: daemon.namespace, timeoutMs: 2 * exitMs };
			const tasks = client.service(TasksDefinition);
			const { container } = await client.service(ContainersDefinition).get({ id: "dumped" }, call);
			const { snapshotter = "", snapshotKey: key = "" } = container ?? {};
			const { mounts: rootfs } = await client.service(SnapshotsDefinition).mounts({ snapshotter, key }, call);
			/** ctr has no words for these options. Debian's crun is built without criu. */
			const begin = async (more: Partial<Options>): Promise<void> => {
				const value = Options.encode(Options.fromPartial({ binaryName: "runc", ...more })).finish();
				const options = { typeUrl: "containerd.runc.v1.Options", value };
				await tasks.create(CreateTaskRequest.fromPartial({ containerId: "dumped", rootfs, options }), call);
				await tasks.start({ containerId: "dumped", execId: "" }, call);
			};
			await begin({});
			const counted = async (): Promise<number> =>
				Number((await exec("dumped", "look", [], "cat", "/tmp/count")).stdout);
			const before = await eventually(exitMs, "it counts", async () => {
				const seen = await counted();
				return seen > 20 ? seen : undefined;
			});
			const imagePath = join(daemon.directory, "images");
			const workPath = join(daemon.directory, "work");
			// ctr tells the places only to io.containerd.runc.v2, and restores only from the content store.
			const dump = CheckpointOptions.fromPartial({ exit: true, imagePath, workPath });
			await tasks.checkpoint(
				{
					containerId: "dumped",
					parentCheckpoint: "",
					options: { typeUrl: "containerd.runc.v1.CheckpointOptions", value: CheckpointOptions.encode(dump).finish() },
				},
				call,
			);
			await untilStatus("dumped", "STOPPED");
			await ctr("tasks", "delete", "dumped");
			await begin({ criuImagePath: imagePath, criuWorkPath: workPath });
			assert.equal((await task("dumped")).status, "RUNNING");
			const first = await counted();
			assert.ok(first >= before, `${first} after ${before}`);
			await eventually(exitMs, "it goes on", async () => (await counted()) > first || undefined);
			assert.match(await ctr("tasks", "metrics", "dumped"), /memory/);
			assert.equal(await killed("dumped"), 137);
			for (const directory of [imagePath, workPath]) rmSync(directory, { recursive: true, force: true });
		});

		more(() => daemon);
	});
}

/** Ticks of user and system time (proc(5), fields 14 and 15). */
function processorTime(pid: number): number {
	const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
		.replace(/^.*\) /s, "")
		.split(" ");
	return Number(fields[11]) + Number(fields[12]);
}

/** What a process's control group says in the first of these files that exists: v1's name, v2's name. */
function controlFile(pid: number, controller: string, names: readonly string[]): string {
	const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
	const groups = lines.flatMap((line) => {
		const [, controllers = "", path = ""] = line.split(":");
		if (controllers === "") return [join("/sys/fs/cgroup", path)];
		return controllers.split(",").includes(controller) ? [join("/sys/fs/cgroup", controller, path)] : [];
	});
	const file = groups.flatMap((group) => names.map((name) => join(group, name))).find((path) => existsSync(path));
	assert.ok(file, `no ${names} of ${controller}`);
	return readFileSync(file, "utf8").trim();
}

/** Why criu cannot dump and restore on this host; undefined if it can. */
export function criuObstacle(): string | undefined {
	const { error, status, stderr } = spawnSync("criu", ["check"], { encoding: "utf8" });
	if (error !== undefined) return "criu is not installed";
	return status === 0 ? undefined : `criu check: ${stderr.trim().split("\n")[0]}`;
}
