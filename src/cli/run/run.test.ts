import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { constants } from "node:os";
import { after, afterEach, beforeEach, test } from "node:test";
import { DaemonError } from "../../errors/daemon-error.ts";
import { outcomeOf, ScriptedDaemon } from "../scripted-daemon.test-fixture.ts";

let daemon: ScriptedDaemon;
const fifoDirectory = "/run/troupe/fifo";
const fifosOf = (id: string): string[] =>
	existsSync(fifoDirectory) ? readdirSync(fifoDirectory).filter((name) => name.startsWith(id)) : [];

beforeEach(async () => {
	daemon = new ScriptedDaemon();
	await daemon.start();
});
afterEach(() => daemon.close());
after(() => assert.deepEqual(fifosOf("test-"), []));

test("output and exit code are the container's, and the wait is sent before the start", async () => {
	daemon.program = async ({ out, err }) => {
		await out("hello\n");
		await err("oops\n");
		return 7;
	};
	const outcome = await daemon.troupe("run", "--rm", "--name", "test-1", "example.com/a:1", "cmd", "-x");
	assert.deepEqual(outcome, { code: 7, stdout: "hello\n", stderr: "oops\n" });
	assert.deepEqual(daemon.calls, [
		"generate",
		"containers.create",
		"snapshots.prepare",
		"tasks.create",
		"tasks.wait",
		"tasks.start",
		"tasks.delete",
		"containers.delete",
		"snapshots.remove",
	]);
	assert.deepEqual(daemon.asked?.options?.args, ["cmd", "-x"]);
	assert.equal(daemon.asked?.image, "example.com/a:1");
});

test("long output arrives whole before the exit", async () => {
	const text = Array.from({ length: 40_000 }, (_, index) => `${index}\n`).join("");
	daemon.program = async ({ out }) => {
		await out(text);
		return 0;
	};
	const { code, stdout, stderr } = await daemon.troupe("run", "example.com/a:1");
	assert.equal(code, 0, stderr);
	assert.equal(stdout, text);
	assert.ok(!daemon.calls.includes("containers.delete"), "without --rm the container stays");
});

test("options become the request for the spec", async () => {
	const flags =
		"--env A=1 -e B --memory 64m --cpus 1.5 --user web --workdir /w --hostname h --read-only --net-host".split(" ");
	const mount = ["--mount", "type=bind,src=/tmp,dst=/x,options=rbind:ro", "--volume", "/a:/b:ro"];
	await daemon.troupe("run", ...flags, ...mount, "--entrypoint", "/e", "busybox", "a", "--rm");
	const options = daemon.asked?.options;
	assert.equal(daemon.asked?.image, "docker.io/library/busybox:latest");
	assert.deepEqual(options?.args, ["a", "--rm"]);
	assert.deepEqual(options?.entrypoint?.values, ["/e"]);
	assert.deepEqual(options?.env, ["A=1", "B"]);
	assert.deepEqual([options?.memoryLimit, options?.cpus], [64n << 20n, 1.5]);
	assert.deepEqual([options?.user, options?.workingDir, options?.hostname], ["web", "/w", "h"]);
	assert.deepEqual([options?.readonlyRootfs, options?.hostNetwork], [true, true]);
	assert.deepEqual(
		options?.mounts.map(({ source, destination, options: list }) => [source, destination, list]),
		[
			["/a", "/b", ["rbind", "ro"]],
			["/tmp", "/x", ["rbind", "ro"]],
		],
	);
});

test("standard input reaches the container, and its end too", async () => {
	daemon.program = async ({ input, out }) => {
		await out((await input()).toUpperCase());
		return 0;
	};
	const outcome = await outcomeOf(daemon.spawn("run", "-i", "example.com/a:1"), "some words\n");
	assert.deepEqual([outcome.code, outcome.stdout], [0, "SOME WORDS\n"]);
	assert.ok(daemon.calls.includes("tasks.closeIO"));
});

test("signals are passed on, and the third SIGINT kills", async () => {
	const received: number[] = [];
	daemon.program = async ({ signal, out }) => {
		await out("ready\n");
		for (let signals = 0; signals < 4; signals++) {
			received.push(await signal());
			await out(".");
		}
		return 130;
	};
	const child = daemon.spawn("run", "example.com/a:1");
	const outcome = outcomeOf(child);
	for (const name of ["SIGHUP", "SIGINT", "SIGINT", "SIGINT"] as const) {
		if (child.stdout !== null) await once(child.stdout, "data");
		child.kill(name);
	}
	assert.equal((await outcome).code, 130);
	assert.deepEqual(received, [constants.signals.SIGHUP, 2, 2, constants.signals.SIGKILL]);
});

test("a run outlives its daemon: it waits again when the daemon is back", async () => {
	const restarted = Promise.withResolvers<void>();
	daemon.program = async ({ out }) => {
		await out("before\n");
		await restarted.promise;
		await out("after\n");
		return 3;
	};
	const child = daemon.spawn("run", "example.com/a:1");
	const outcome = outcomeOf(child);
	if (child.stdout !== null) await once(child.stdout, "data");
	await daemon.restart();
	restarted.resolve();
	assert.deepEqual(await outcome, { code: 3, stdout: "before\nafter\n", stderr: "" });
});

test("when the reader of the output is gone, the container is killed, as a pipe does to a program", async () => {
	daemon.program = async ({ out, signal }) => {
		const killed = signal();
		for (let lines = 0; lines < 50; lines++) await out("y\n".repeat(4096));
		return 128 + (await killed);
	};
	const child = daemon.spawn("run", "example.com/a:1");
	child.stdout?.destroy();
	const [code] = await once(child, "exit");
	assert.equal(code, 141);
});

test("a start that fails leaves nothing, and a missing command ends with 127", async () => {
	const task = { kind: "task", namespace: "default", id: "test-2" };
	const text = "OCI runtime create failed: executable file `nope` not found in $PATH: No such file or directory";
	daemon.failures.set("tasks.create", new DaemonError("Unknown", task, text));
	const { code, stderr } = await daemon.troupe("run", "--name", "test-2", "example.com/a:1", "nope");
	assert.equal(code, 127);
	assert.match(stderr, /^troupe: .*`nope` not found.*\n$/);
	assert.deepEqual(daemon.calls.slice(-3), ["tasks.create", "containers.delete", "snapshots.remove"]);
});

test("a name that is taken removes only the new snapshot", async () => {
	const object = { kind: "container", namespace: "default", id: "test-3" };
	daemon.failures.set("containers.create", new DaemonError("AlreadyExists", object, "already exists"));
	const { code, stderr } = await daemon.troupe("run", "--name", "test-3", "example.com/a:1");
	assert.equal(code, 125);
	assert.match(stderr, /^troupe: .*"test-3".*already exists\n$/);
	assert.deepEqual(daemon.calls.slice(-1), ["snapshots.remove"]);
	assert.ok(!daemon.calls.includes("containers.delete"));
});

test("a snapshot that the collector took first, once its container was gone, is as good as removed", async () => {
	const object = { kind: "snapshot", namespace: "default", id: "test-4" };
	daemon.failures.set("snapshots.remove", new DaemonError("NotFound", object, "does not exist"));
	daemon.program = async () => 5;
	const { code, stderr } = await daemon.troupe("run", "--rm", "--name", "test-4", "example.com/a:1");
	assert.deepEqual({ code, stderr }, { code: 5, stderr: "" });
});

test("an image that is not there says how to get it", async () => {
	const object = { kind: "image", namespace: "default", id: "docker.io/library/x:latest" };
	daemon.failures.set("generate", new DaemonError("NotFound", object, "not found"));
	const { code, stderr } = await daemon.troupe("run", "x");
	assert.equal(code, 125);
	assert.match(stderr, /not found\. Pull it first \(troupe pull docker\.io\/library\/x:latest\)/);
});

test("contradictory flags are refused before anything is made", async () => {
	for (const flags of [["--rm", "-d"], ["-d", "-t"], ["-t"], ["--memory", "lots"], ["--mount", "dst=x"]])
		assert.equal((await daemon.troupe("run", ...flags, "x")).code, 125, flags.join(" "));
	assert.deepEqual(daemon.calls, []);
});
