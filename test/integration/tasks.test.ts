/** The task actors with real shims and containers: ours and containerd's, killed and restarted. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type System, startSystem } from "../../actors/kernel/system.ts";
import { startHostShims } from "../../actors/shims/host-shims.ts";
import type { Shims } from "../../actors/shims/shims.ts";
import { Bundles } from "../../actors/task/bundle.ts";
import { pidfdWitness } from "../../actors/task-manager/pidfd-witness.ts";
import { startTaskManager, type TaskManager } from "../../actors/task-manager/task-manager.ts";
import { TaskRegistry } from "../../actors/task-manager/task-registry.ts";
import type { TaskContext } from "../../machines/task-messages.ts";
import { findExecutable } from "../../shim/oci-runtime.ts";
import { TaskExit } from "../../src/gen/containerd/events/task.ts";
import { EventsDefinition } from "../../src/gen/containerd/services/ttrpc/events/v1/events.ts";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { unmountAll } from "../../src/sys/mounts.ts";
import { nativeKernel } from "../../src/sys/native-kernel.ts";
import { implementation, serve, type TtrpcServer } from "../../src/ttrpc/server.ts";
import { execSpec, namespace, ShimHost, until } from "./shim-host.ts";

const call = { deadlineMs: 20_000 };
const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
const idOf = (id: string, execId = "") => ({ namespace, id, execId });

/** A daemon's actors over a store that outlives them, as a disk does. */
class Stage {
	readonly host: ShimHost;
	readonly store = memoryStore();
	readonly warnings: string[] = [];
	manager!: TaskManager;
	shims!: Shims;
	#system: System | undefined;
	#server: TtrpcServer | undefined;

	constructor(host: ShimHost) {
		this.host = host;
	}

	async start(): Promise<void> {
		const { host, store } = this;
		const warn = (fields: object, message: string) => this.warnings.push(`${message} ${JSON.stringify(fields)}`);
		const system = await startSystem({ store, root: { strategy: "one_for_one" } });
		this.#system = system;
		const registry = new TaskRegistry(system, store);
		const bundles = new Bundles({
			state: join(host.directory, "daemon-state"),
			root: join(host.directory, "daemon-root"),
			unmount: (path) => unmountAll(nativeKernel, path),
		});
		this.shims = await startHostShims({
			system,
			residents: registry,
			address: host.address,
			daemonBinary: "/bin/true",
			shimBinary: host.program,
			state: join(host.directory, "state"),
			sockets: host.sockets,
			ownRuntimes: ["io.containerd.troupe.v2"],
			idleMs: 100,
			kernel: nativeKernel,
			log: { info: () => {}, warn },
		});
		const witness = pidfdWitness(nativeKernel, system.clock);
		const options = { system, store, shims: this.shims, registry, bundles, witness, warn };
		this.manager = await startTaskManager(options);
		this.#server = await serve(`${host.address}.ttrpc`, [
			implementation(EventsDefinition, {
				forward: async ({ envelope }) => {
					if (envelope !== undefined) await this.manager.forward(envelope);
					return {};
				},
			}),
		]);
		await this.shims.flush();
		await this.manager.reconciled();
	}

	async stop(): Promise<void> {
		await this.shims.flush();
		await this.#server?.close();
		this.shims.stop();
		await this.#system?.stop();
	}

	/** Creates a busybox container. */
	async create(id: string, args: readonly string[], runtime = "io.containerd.troupe.v2"): Promise<number> {
		const spec = readFileSync(join(this.host.bundle(id, args), "config.json"));
		const creation = { ...idOf(id), spec, runtime: { name: runtime }, rootfs: [], stdio, checkpoint: "" };
		return (await this.manager.tasks.create(creation, call)).pid;
	}

	async run(id: string, args: readonly string[], runtime?: string): Promise<number> {
		const pid = await this.create(id, args, runtime);
		await this.manager.tasks.start(idOf(id), call);
		return pid;
	}

	async events(id: string): Promise<string[]> {
		return (await this.store.journal.read(0, 100_000))
			.filter(({ kind, body }) => kind === "event" && Buffer.from((body as { value: Uint8Array }).value).includes(id))
			.map(({ subject, body }) => {
				if (subject !== "/tasks/exit") return subject;
				return `${subject} ${TaskExit.decode((body as { value: Uint8Array }).value).exitStatus}`;
			});
	}

	/** Pid of the shim that holds a container. */
	async shimPid(id: string): Promise<number> {
		return (await this.shims.connection(namespace, this.context(id).shim).shard.info({})).pid;
	}

	context(id: string): TaskContext {
		return (this.store.get(`v1/${namespace}/task/${id}`) as unknown as { context: TaskContext }).context;
	}
}

for (const runtime of ["crun"])
	describe(`tasks with our shim and ${runtime}`, {
		skip: findExecutable(runtime) === undefined && `${runtime} is not installed`,
	}, () => {
		let stage: Stage;
		before(async () => {
			const host = await ShimHost.start({ TROUPE_OCI_RUNTIME: runtime });
			await host.stopDaemon();
			stage = new Stage(host);
			await stage.start();
		});
		after(async () => {
			await stage.stop();
			await stage.host.dispose();
		});

		test("create, start, wait, delete: told in order, and nothing is left", async () => {
			const { tasks } = stage.manager;
			const pid = await stage.create("life", ["sh", "-c", "exit 42"]);
			const exit = tasks.wait(idOf("life"), call);
			assert.deepEqual(await tasks.start(idOf("life"), call), { pid });
			assert.equal((await exit).exitStatus, 42);
			assert.equal((await tasks.delete(idOf("life"), call)).exitStatus, 42);
			assert.deepEqual(await stage.events("life"), [
				"/tasks/create",
				"/tasks/start",
				"/tasks/exit 42",
				"/tasks/delete",
			]);
			assert.equal(
				existsSync(join(stage.host.directory, "daemon-state/io.containerd.runtime.v2.task", namespace, "life")),
				false,
			);
		});

		test("exec, kill, pids, metrics, pause and resume", async () => {
			const { tasks } = stage.manager;
			await stage.run("busy", ["sleep", "60"]);
			await tasks.exec({ ...idOf("busy", "sh"), stdio, spec: execSpec(["sh", "-c", "exit 7"]) }, call);
			await tasks.start(idOf("busy", "sh"), call);
			assert.equal((await tasks.wait(idOf("busy", "sh"), call)).exitStatus, 7);
			await tasks.deleteProcess(idOf("busy", "sh"), call);
			assert.equal((await tasks.pids(idOf("busy"), call)).length, 1);
			assert.match((await tasks.metrics(idOf("busy"), call)).typeUrl, /^io\.containerd\.cgroups\.v[12]\.Metrics$/);
			await tasks.pause(idOf("busy"), call);
			await tasks.resume(idOf("busy"), call);
			await tasks.kill(idOf("busy"), { signal: 9, all: false }, call);
			assert.equal((await tasks.wait(idOf("busy"), call)).exitStatus, 137);
			await tasks.delete(idOf("busy"), call);
			const topics = (await stage.events("busy")).join(" ");
			assert.equal(
				topics,
				"/tasks/create /tasks/start /tasks/exec-added /tasks/exec-started /tasks/exit 7 /tasks/paused /tasks/resumed /tasks/exit 137 /tasks/delete",
			);
		});

		test("an exit while the daemon is away is told once after its return", async () => {
			await stage.run("away", ["sh", "-c", "sleep 0.3; exit 5"]);
			await stage.stop();
			await new Promise((resolve) => setTimeout(resolve, 600));
			await stage.start();
			assert.equal((await stage.manager.tasks.wait(idOf("away"), call)).exitStatus, 5);
			await stage.manager.tasks.delete(idOf("away"), call);
			assert.deepEqual(await stage.events("away"), ["/tasks/create", "/tasks/start", "/tasks/exit 5", "/tasks/delete"]);
		});

		test("a container outlives its shard, and its exit is told by the heir", async () => {
			const { tasks } = stage.manager;
			await stage.run("orphan", ["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]);
			const { shim } = stage.context("orphan");
			process.kill(await stage.shimPid("orphan"), "SIGKILL");
			await until("the task has another shim", () => stage.context("orphan").shim !== shim);
			await tasks.kill(idOf("orphan"), { signal: 15, all: false }, call);
			assert.equal((await tasks.wait(idOf("orphan"), call)).exitStatus, 9);
			await tasks.delete(idOf("orphan"), call);
			assert.deepEqual((await stage.events("orphan")).slice(1), ["/tasks/start", "/tasks/exit 9", "/tasks/delete"]);
		});

		test("a container that ends while daemon and shard are dead has its status from the standby", async () => {
			await stage.run("both", ["sh", "-c", "sleep 0.4; exit 6"]);
			const pid = await stage.shimPid("both");
			await stage.stop();
			process.kill(pid, "SIGKILL");
			await new Promise((resolve) => setTimeout(resolve, 800));
			await stage.start();
			assert.equal((await stage.manager.tasks.wait(idOf("both"), call)).exitStatus, 6);
			await stage.manager.tasks.delete(idOf("both"), call);
			assert.deepEqual((await stage.events("both")).slice(1), ["/tasks/start", "/tasks/exit 6", "/tasks/delete"]);
		});
	});

const runcShim = "containerd-shim-runc-v2";
describe(`tasks with ${runcShim}`, {
	skip: findExecutable(runcShim) === undefined && `${runcShim} is not installed`,
}, () => {
	const runtime = "io.containerd.runc.v2";
	let stage: Stage;
	before(async () => {
		const host = await ShimHost.start();
		await host.stopDaemon();
		stage = new Stage(host);
		await stage.start();
	});
	after(async () => {
		await stage.stop();
		await stage.host.dispose();
	});

	test("a container's life, and its shim ends with it", async () => {
		const { tasks } = stage.manager;
		await stage.create("go", ["sh", "-c", "exit 3"], runtime);
		const { shim } = stage.context("go");
		const exit = tasks.wait(idOf("go"), call);
		await tasks.start(idOf("go"), call);
		assert.equal((await exit).exitStatus, 3);
		assert.equal((await tasks.delete(idOf("go"), call)).exitStatus, 3);
		assert.deepEqual(await stage.events("go"), ["/tasks/create", "/tasks/start", "/tasks/exit 3", "/tasks/delete"]);
		await until("the link is gone", () => stage.store.get(`v1/${namespace}/shim/${shim}`) === undefined);
	});

	test("a restarted daemon finds the shim and its container again", async () => {
		await stage.run("again", ["sleep", "60"], runtime);
		await stage.stop();
		await stage.start();
		const { tasks } = stage.manager;
		assert.equal((await tasks.get(idOf("again"), call)).status, "running");
		await tasks.kill(idOf("again"), { signal: 9, all: false }, call);
		assert.equal((await tasks.wait(idOf("again"), call)).exitStatus, 137);
		await tasks.delete(idOf("again"), call);
	});

	test("a container whose shim is killed is buried by the binary, told once", async () => {
		const { tasks } = stage.manager;
		await stage.run("grave", ["sleep", "60"], runtime);
		const connection = stage.shims.connection(namespace, stage.context("grave").shim);
		process.kill((await connection.task.connect({ id: "grave" })).shimPid, "SIGKILL");
		assert.equal((await tasks.wait(idOf("grave"), call)).exitStatus, 137);
		await tasks.delete(idOf("grave"), call);
		assert.deepEqual((await stage.events("grave")).slice(1), ["/tasks/start", "/tasks/exit 137", "/tasks/delete"]);
	});

	test("a creation that the shim refuses leaves neither bundle nor shim", async () => {
		await assert.rejects(
			stage.create("bad", ["/no/such/program"], runtime).then(() => stage.manager.tasks.start(idOf("bad"), call)),
		);
		if ((await stage.manager.tasks.list(namespace, call)).length > 0)
			await stage.manager.tasks.delete(idOf("bad"), call);
		await until("no link is left", () => [...stage.store.entries(`v1/${namespace}/shim/`)].length === 0);
	});
});
