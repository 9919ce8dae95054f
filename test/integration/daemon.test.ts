/** The daemon as a process: its sockets, its command line, its signals; Debian's own ctr as the client. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { connectGrpc } from "../../src/daemon/grpc-client.test-fixture.ts";
import { NamespaceCreate } from "../../src/gen/containerd/events/namespace.ts";
import { IntrospectionDefinition } from "../../src/gen/containerd/services/introspection/v1/introspection.ts";
import { Any } from "../../src/gen/google/protobuf/any.ts";
import { HealthDefinition } from "../../src/gen/grpc/health/v1/health.ts";
import { DaemonUnderTest } from "../fixtures/daemon-under-test.ts";
import { within } from "../fixtures/deadline.ts";

const skip = process.getuid?.() === 0 ? false : "the daemon needs root";
const trouped = resolve(import.meta.dirname, "../../bin/trouped");

describe("trouped", { skip }, () => {
	let daemon: DaemonUnderTest;
	before(async () => {
		daemon = await DaemonUnderTest.open("idle_ms = 100\n");
	});
	after(() => daemon.close());

	/** ctr's output; its failure is the test's. */
	async function ctr(...args: string[]): Promise<string> {
		const { code, stdout, stderr } = await daemon.ctr(...args);
		assert.equal(code, 0, `ctr ${args.join(" ")}: ${stderr}\n${daemon.log.slice(-2000)}`);
		return stdout;
	}

	/** Runs another trouped to its end. */
	async function other(args: readonly string[], input: Uint8Array = new Uint8Array()) {
		const child = spawn(trouped, args, { stdio: ["pipe", "pipe", "pipe"] });
		let output = "";
		for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
		child.stdin.end(input);
		const [code] = await within(20_000, "trouped ends", () => once(child, "close"));
		return { code, output };
	}

	test("only root may connect", () => {
		for (const suffix of ["", ".ttrpc", ".http"])
			assert.equal(statSync(`${daemon.socket}${suffix}`).mode & 0o777, 0o600, suffix);
	});

	test("ctr version, plugins, containers, images, tasks, content, snapshots work unchanged", async () => {
		assert.match(await ctr("version"), /Server:\n\s+Version:\s+0\.1\.0/);
		const plugins = (await ctr("plugins", "ls")).trim().split("\n").slice(1);
		assert.ok(plugins.length > 20);
		for (const line of plugins) assert.match(line, /\sok\s*$/);
		assert.match(await ctr("plugins", "ls", "-d", "id==overlayfs"), /root/);
		for (const list of ["containers", "images", "tasks", "snapshots", "content", "leases"]) await ctr(list, "ls");
	});

	test("ctr namespaces: create, label, list, remove", async () => {
		await ctr("namespaces", "create", "n1", "a=b");
		await ctr("namespaces", "label", "n1", "c=d");
		assert.match(await ctr("namespaces", "ls"), /n1\s+a=b,c=d/);
		await ctr("namespaces", "rm", "n1");
		assert.doesNotMatch(await ctr("namespaces", "ls"), /n1/);
		const { code, stderr } = await daemon.ctr("namespaces", "create", "bad..name");
		assert.notEqual(code, 0);
		assert.match(stderr, /invalid argument/);
	});

	/** ctr events, from the moment that it is subscribed. */
	async function watchEvents(
		...filters: string[]
	): Promise<{ child: ChildProcess; line(pattern: RegExp): Promise<string> }> {
		const child = spawn("ctr", ["--address", daemon.socket, "events", ...filters], {
			stdio: ["ignore", "pipe", "ignore"],
		});
		let text = "";
		child.stdout?.on("data", (chunk) => (text += chunk));
		const line = (pattern: RegExp) =>
			within(10_000, `ctr events tells ${pattern}`, async (signal) => {
				for (;;) {
					const found = text.split("\n").find((candidate) => pattern.test(candidate));
					if (found !== undefined) return found;
					signal.throwIfAborted();
					if (child.stdout) await Promise.race([once(child.stdout, "data"), once(signal, "abort")]);
				}
			});
		// Nothing tells that ctr has subscribed: it is so when it has heard something.
		let number = 0;
		await within(10_000, "ctr has subscribed", async (signal) => {
			while (text === "") {
				signal.throwIfAborted();
				await other(
					["--address", daemon.socket, "publish", "--topic", `/probe/${++number}`, "--namespace", "probe"],
					anyEvent(),
				);
			}
		});
		return { child, line };
	}

	const anyEvent = (): Uint8Array =>
		Any.encode({
			typeUrl: "containerd.events.NamespaceCreate",
			value: NamespaceCreate.encode({ name: "published", labels: {} }).finish(),
		}).finish();

	test("ctr events tells what happens in every namespace, also what other shims publish through the binary", async () => {
		const { child, line } = await watchEvents();
		try {
			await ctr("namespaces", "create", "n2");
			assert.match(await line(/\/namespaces\/create/), / n2 \/namespaces\/create \{"name":"n2"\}/);
			const published = await other(
				["-a", daemon.socket, "publish", "--topic", "/my/topic", "--namespace", "n2"],
				anyEvent(),
			);
			assert.deepEqual(published, { code: 0, output: "" });
			assert.match(await line(/\/my\/topic/), / n2 \/my\/topic \{"name":"published"\}/);
		} finally {
			child.kill();
			await ctr("namespaces", "rm", "n2");
		}
	});

	test("ctr pulls, tags, pushes and removes an image", async () => {
		const { reference } = daemon.image;
		await ctr("images", "pull", "--plain-http", reference);
		assert.match(await ctr("images", "ls"), new RegExp(reference));
		assert.match(await ctr("images", "check"), /complete/);
		const copy = `${daemon.registry.host}/test/copy:1`;
		await ctr("images", "tag", reference, copy);
		await ctr("images", "push", "--plain-http", copy);
		await ctr("images", "rm", "--sync", reference, copy);
		assert.equal((await ctr("content", "ls", "-q")).trim(), "");
		assert.equal((await ctr("snapshots", "ls")).trim().split("\n").length, 1);
	});

	test("ctr run has the container's output and exit code", async () => {
		await ctr("images", "pull", "--plain-http", daemon.image.reference);
		const outcome = await daemon.ctr("run", "--rm", daemon.image.reference, "c1", "sh", "-c", "echo out; exit 7");
		assert.deepEqual([outcome.code, outcome.stdout], [7, "out\n"]);
		assert.equal((await ctr("containers", "ls", "-q")).trim(), "");
	});

	test("health, and a uuid that outlives the process", async () => {
		const ask = async () => {
			using client = connectGrpc(daemon.socket);
			assert.deepEqual(await client.service(HealthDefinition).check({ service: "" }), { status: 1 });
			return await client.service(IntrospectionDefinition).server({});
		};
		const before = await ask();
		assert.equal(before.pid, BigInt(daemon.pid));
		await daemon.stop();
		for (const suffix of ["", ".ttrpc", ".http"]) assert.equal(existsSync(`${daemon.socket}${suffix}`), false, suffix);
		await daemon.start();
		const after = await ask();
		assert.equal(after.uuid, before.uuid);
		assert.notEqual(after.pid, before.pid);
	});

	test("a shard without containers ends, also one that an earlier daemon has left", async () => {
		const isShard = (pid: number): boolean => {
			try {
				return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("\0-shard\0");
			} catch {
				return false; // it has ended while we looked
			}
		};
		await within(20_000, "the shard of the container that has run ends", async (signal) => {
			while (daemon.shims().some(isShard)) {
				signal.throwIfAborted();
				await new Promise((retry) => setTimeout(retry, 20));
			}
		});
	});

	test("a daemon that was killed leaves sockets behind; the next one takes their place", async () => {
		await daemon.kill();
		assert.ok(existsSync(daemon.socket));
		await daemon.start();
		await ctr("version");
	});

	test("a second daemon on the same directories ends with exit 1 and says whose they are", async () => {
		const { directory } = daemon;
		const args = ["--root", `${directory}/root`, "--state", `${directory}/state2`, "-a", `${directory}/second.sock`];
		const { code, output } = await other(args);
		assert.equal(code, 1);
		assert.match(output, new RegExp(`another daemon \\(pid ${daemon.pid}\\) works here`));
		const third = await other([
			"--root",
			`${directory}/root3`,
			"--state",
			`${directory}/state`,
			"-a",
			`${directory}/third.sock`,
		]);
		assert.equal(third.code, 1);
		await ctr("version");
	});

	test("a configuration that cannot be meant ends with exit 1 and the key", async () => {
		const file = join(daemon.directory, "broken.toml");
		writeFileSync(file, "root = 3\n");
		const { code, output } = await other(["--config", file]);
		assert.equal(code, 1);
		assert.match(output, /broken\.toml.*root/);
		assert.match((await other(["--nope"])).output, /--nope/);
	});

	test("SIGUSR1 writes actors and process to the log", async () => {
		process.kill(daemon.pid, "SIGUSR1");
		await within(10_000, "the dump is in the log", async (signal) => {
			while (!/"path":"\/task-manager"/.test(daemon.log) || !/stack of the event loop/.test(daemon.log)) {
				signal.throwIfAborted();
				await new Promise((retry) => setTimeout(retry, 20));
			}
		});
	});
});
