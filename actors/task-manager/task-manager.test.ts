import assert from "node:assert/strict";
import { existsSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import { creationOf, openWorld, type Places, temporaryPlaces, type World } from "./scripted-shim.test-fixture.ts";

const call = { deadlineMs: 5_000 };
const web = { namespace: "default", id: "web" };
const init = { ...web, execId: "" };
const sh = { ...web, execId: "sh" };
const stdio = { stdin: "", stdout: "", stderr: "", terminal: false };
const spec = { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process", value: Buffer.from("{}") };

let places: Places;
let store: Store;
let world: World;
before(async () => {
	places = await temporaryPlaces();
});
after(() => places.remove());
beforeEach(async () => {
	store = memoryStore();
	world = await openWorld(store, places);
});
afterEach(async () => {
	await world.stop();
	await world.bundles.remove(web);
});

/** The state of web's actor, once it is one of these. */
async function stateOf(...wanted: string[]): Promise<string> {
	const limit = AbortSignal.timeout(5_000);
	for (;;) {
		const record = store.get("v1/default/task/web") as { value: string } | undefined;
		const state = record?.value ?? "gone";
		if (wanted.includes(state)) return state;
		if (limit.aborted) throw new Error(`web is ${state}, not ${wanted}`);
		await new Promise((resolve) => setImmediate(resolve));
	}
}
const running = async () => {
	const { pid } = await world.manager.tasks.create(creationOf("web"), call);
	await world.manager.tasks.start(init, call);
	return pid;
};

test("a task's life is told in order, and nothing is left of it", async () => {
	const { tasks } = world.manager;
	const { pid } = await tasks.create(creationOf("web"), call);
	const bundle = world.bundles.path(web);
	assert.equal(statSync(bundle).mode & 0o777, 0o700);
	assert.equal(readFileSync(join(bundle, "config.json"), "utf8"), '{"ociVersion":"1.0.2"}');
	assert.ok(existsSync(join(bundle, "rootfs")));
	assert.ok(statSync(readlinkSync(join(bundle, "work"))).isDirectory());
	const exit = tasks.wait(init, call);
	assert.deepEqual(await tasks.start(init, call), { pid });
	assert.equal((await tasks.get(init, call)).status, "running");
	await world.shim.exit("web", 7);
	assert.equal((await exit).exitStatus, 7);
	assert.equal((await tasks.list("default", call))[0]?.status, "stopped");
	const deleted = await tasks.delete(web, call);
	assert.deepEqual([deleted.pid, deleted.exitStatus], [pid, 7]);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start", "/tasks/exit 7", "/tasks/delete"]);
	assert.equal(existsSync(bundle), false);
	await assert.rejects(tasks.get(init, call), { code: "NotFound" });
	await tasks.create(creationOf("web"), call);
});

test("an exit before the answer to start is told after the start", async () => {
	await world.manager.tasks.create(creationOf("web"), call);
	world.shim.next("start", async () => {
		assert.deepEqual(await world.shim.exit("web", 3), [true]);
	});
	await world.manager.tasks.start(init, call);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start", "/tasks/exit 3"]);
});

test("an exit that is told before the creation is answered is not lost", async () => {
	world.shim.next("create", () => {
		world.shim.processes.set("web/", { pid: 100, status: 1, exitStatus: 0, exitedAt: 0n });
		return world.shim.exit("web", 1).then(() => {}); // its answer follows
	});
	await world.manager.tasks.create(creationOf("web"), call);
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 1);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/exit 1"]);
});

test("a creation that the shim refuses leaves nothing, and the next one works", async () => {
	world.shim.refuse("create", "Unknown", "runc create failed: no such file");
	await assert.rejects(world.manager.tasks.create(creationOf("web"), call), {
		code: "Unknown",
		problem: "runc create failed: no such file",
	});
	assert.equal(existsSync(world.bundles.path(web)), false);
	assert.equal(store.get("v1/default/task/web"), undefined);
	assert.deepEqual(await world.events(), []);
	await world.manager.tasks.create(creationOf("web"), call);
});

test("a creation whose caller goes away is undone", async () => {
	const caller = new AbortController();
	const reached = Promise.withResolvers<void>();
	world.shim.next("create", async () => {
		reached.resolve();
		await new Promise((resolve) => setImmediate(resolve));
	});
	const creating = world.manager.tasks.create(creationOf("web"), { deadlineMs: 5_000, signal: caller.signal });
	creating.catch(() => {});
	await reached.promise;
	caller.abort();
	await assert.rejects(creating, { code: "Canceled" });
	await stateOf("gone");
	assert.equal(existsSync(world.bundles.path(web)), false);
	assert.equal(world.shim.processes.size, 0, "the shim finished what was cancelled, and then had to delete it");
});

test("a second creation is refused with AlreadyExists", async () => {
	const first = world.manager.tasks.create(creationOf("web"), call);
	await assert.rejects(world.manager.tasks.create(creationOf("web"), call), { code: "AlreadyExists" });
	await first;
	await assert.rejects(world.manager.tasks.create(creationOf("web"), call), { code: "AlreadyExists" });
});

test("a start that the shim refuses leaves the task created, and it can be deleted", async () => {
	const { tasks } = world.manager;
	await tasks.create(creationOf("web"), call);
	world.shim.refuse("start", "Unknown", "exec format error");
	await assert.rejects(tasks.start(init, call), { problem: "exec format error" });
	assert.equal((await tasks.get(init, call)).status, "created");
	const deleted = await tasks.delete(web, call);
	assert.equal(deleted.exitStatus, 137);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/exit 137", "/tasks/delete"]);
});

test("a start without an answer is settled by asking the shim", async () => {
	await world.manager.tasks.create(creationOf("web"), call);
	world.shim.next("start", () => {
		world.shim.process("web").status = 2;
	});
	world.shim.refuse("start", "DeadlineExceeded");
	world.shim.next("start", () => {});
	await world.manager.tasks.start(init, call).catch(() => {});
	await stateOf("running");
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start"]);
});

test("requests that a state cannot take are refused in the words that clients know", async () => {
	const { tasks } = world.manager;
	await running();
	await assert.rejects(tasks.delete(web, call), { code: "FailedPrecondition" });
	await assert.rejects(tasks.start(init, call), { code: "FailedPrecondition" });
	await world.shim.exit("web", 0);
	await assert.rejects(tasks.kill(init, { signal: 15, all: false }, call), {
		code: "NotFound",
		problem: "process already finished",
	});
	await assert.rejects(tasks.pause(web, call), { code: "FailedPrecondition" });
	await assert.rejects(tasks.kill({ ...init, id: "other" }, { signal: 15, all: false }, call), { code: "NotFound" });
});

test("pause and resume are told, and a task may end while it is paused", async () => {
	const { tasks } = world.manager;
	await running();
	await tasks.pause(web, call);
	assert.equal((await tasks.get(init, call)).status, "paused");
	await tasks.resume(web, call);
	await tasks.pause(web, call);
	await tasks.kill(init, { signal: 9, all: false }, call);
	await tasks.wait(init, call);
	assert.deepEqual((await world.events()).slice(2), [
		"/tasks/paused",
		"/tasks/resumed",
		"/tasks/paused",
		"/tasks/exit 137",
	]);
});

test("an exec has a life of its own", async () => {
	const { tasks } = world.manager;
	await running();
	await tasks.exec({ ...sh, stdio, spec }, call);
	await assert.rejects(tasks.exec({ ...sh, stdio, spec }, call), { code: "AlreadyExists" });
	world.shim.next("start", async () => {});
	const { pid } = await tasks.start(sh, call);
	assert.equal((await tasks.get(sh, call)).pid, pid);
	const exit = tasks.wait(sh, call);
	await world.shim.exit("web", 2, "sh");
	assert.equal((await exit).exitStatus, 2);
	assert.equal((await tasks.deleteProcess(sh, call)).exitStatus, 2);
	await assert.rejects(tasks.get(sh, call), { code: "NotFound" });
	assert.deepEqual((await world.events()).slice(2), ["/tasks/exec-added", "/tasks/exec-started", "/tasks/exit sh 2"]);
	await tasks.exec({ ...sh, stdio, spec }, call);
});

test("the spec of an exec, which may hold secrets, is in no record and not in the journal", async () => {
	await running();
	const secret = { ...spec, value: Buffer.from('{"env":["PASSWORD=hunter2"]}') };
	await world.manager.tasks.exec({ ...sh, stdio, spec: secret }, call);
	const kept = JSON.stringify([await store.journal.read(0, 1_000), [...store.entries("")]], (_, value) =>
		typeof value === "bigint" ? `${value}` : value instanceof Uint8Array ? Buffer.from(value).toString() : value,
	);
	assert.equal(kept.includes("hunter2"), false);
});

test("execs end with their container", async () => {
	const { tasks } = world.manager;
	await running();
	await tasks.exec({ ...sh, stdio, spec }, call);
	await tasks.start(sh, call);
	await world.shim.exit("web", 0);
	await tasks.delete(web, call);
	await world.shim.exit("web", 137, "sh").catch(() => {});
	const events = await world.events();
	assert.equal(events.filter((event) => event === "/tasks/exit sh 137").length, 1);
});

test("facts that come again, late and in any order change nothing", async () => {
	await fc.assert(
		fc.asyncProperty(
			fc.array(fc.constantFrom("exit", "oom 5", "oom 9", "stale", "start"), { minLength: 1, maxLength: 12 }),
			async (reports) => {
				const ownStore = memoryStore();
				const own = await openWorld(ownStore, places);
				try {
					await own.manager.tasks.create(creationOf("many"), call);
					const many = { namespace: "default", id: "many", execId: "" };
					let exited = false;
					let newest = 0n;
					let ooms = 0;
					let started = false;
					for (const report of reports) {
						if (report === "exit") {
							assert.deepEqual(await own.shim.exit("many", 4, "", 3), [true, true, true]);
							exited = true;
						} else if (report === "stale") {
							const envelope = own.shim.exitOf("many");
							const { pid } = own.shim.process("many");
							own.shim.process("many").pid = 1;
							assert.equal(await own.manager.forward({ ...own.shim.exitOf("many"), topic: envelope.topic }), true);
							own.shim.process("many").pid = pid;
						} else if (report === "start") {
							await own.manager.tasks.start(many, call).then(
								() => {
									started = true;
								},
								() => {},
							);
						} else {
							const at = BigInt(report.slice(4));
							assert.equal(await own.shim.oom("many", at), true);
							if (at > newest) ooms++;
							newest = at > newest ? at : newest;
						}
					}
					const events = await own.events();
					const count = (topic: string) => events.filter((event) => event.startsWith(topic)).length;
					assert.equal(count("/tasks/exit"), exited ? 1 : 0);
					assert.equal(count("/tasks/oom"), ooms);
					assert.equal(count("/tasks/start"), started ? 1 : 0);
				} finally {
					await own.stop();
					await own.bundles.remove({ namespace: "default", id: "many" });
				}
			},
		),
		{ numRuns: 30 },
	);
});

test("a fact is not acknowledged when the disk refuses, and taken when it comes again", async () => {
	await world.stop();
	let broken = false;
	store = memoryStore({
		beforeCommit: async () => {
			if (broken) throw new Error("no space left on device");
		},
	});
	world = await openWorld(store, places);
	await running();
	broken = true;
	await assert.rejects(world.shim.exit("web", 9));
	broken = false;
	assert.deepEqual(await world.shim.exit("web", 9), [true]);
	assert.deepEqual((await world.events()).slice(2), ["/tasks/exit 9"]);
});

test("what is not about tasks is not taken; what nobody knows is acknowledged", async () => {
	const envelope = { namespace: "default", timestamp: undefined, event: undefined };
	assert.equal(await world.manager.forward({ ...envelope, topic: "/images/create" }), false);
	assert.equal(await world.manager.forward({ ...envelope, topic: "/tasks/start" }), true);
	assert.equal(await world.shim.oom("nobody", 4n), true);
	assert.deepEqual(await world.events(), []);
});

test("a lost shim's task waits for an heir, and what was asked meanwhile is done then", async () => {
	await running();
	world.shim.connected = false;
	await world.registry.tell(web, { type: "shim.lost" });
	assert.equal((await world.manager.tasks.get(init, call)).status, "unknown");
	const killed = world.manager.tasks.kill(init, { signal: 9, all: false }, call);
	world.shim.connected = true;
	world.shim.name = "shard-2";
	await world.registry.tell(web, { type: "shim.adopted", shim: "shard-2" });
	await killed;
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 137);
	assert.equal(world.registry.context(web).shim, "shard-2");
});

test("stdio that an heir could not open again is an event, while there is a process to miss it", async () => {
	await running();
	await world.registry.tell(web, { type: "shim.lost" });
	await world.registry.tell(web, { type: "shim.adopted", shim: "shard-2" });
	await world.registry.tell(web, { type: "stdio.lost", lost: ["its terminal: no"] });
	assert.equal((await world.events()).at(-1), "/troupe/stdio-lost");
	await world.shim.exit("web", 7);
	await world.manager.tasks.wait(init, call);
	const before = await world.events();
	await world.registry.tell(web, { type: "stdio.lost", lost: ["its terminal: no"] });
	assert.deepEqual(await world.events(), before);
});

test("an exec that is asked for while the shim is lost is made when an heir has the container", async () => {
	await running();
	world.shim.connected = false;
	await world.registry.tell(web, { type: "shim.lost" });
	const added = world.manager.tasks.exec({ ...sh, stdio, spec }, call);
	world.shim.connected = true;
	await world.registry.tell(web, { type: "shim.adopted", shim: "shard-2" });
	await added;
	await world.manager.tasks.start(sh, call);
	assert.equal((await world.manager.tasks.get(sh, call)).status, "running");
});

test("an exec that is asked for before it is known whether the shim is lost waits for that", async () => {
	await running();
	world.shim.connected = false;
	const added = world.manager.tasks.exec({ ...sh, stdio, spec }, call);
	await world.registry.tell(web, { type: "shim.lost" });
	world.shim.connected = true;
	await world.registry.tell(web, { type: "shim.adopted", shim: "shard-2" });
	await added;
});

test("an exec in a task that ends while its shim is lost is refused with the task's state", async () => {
	const pid = await running();
	await world.registry.tell(web, { type: "shim.lost" });
	const refused = assert.rejects(world.manager.tasks.exec({ ...sh, stdio, spec }, call), {
		code: "FailedPrecondition",
		message: /stopped/,
	});
	world.witness.watched.get(pid)?.({ known: true, exitStatus: 5, exitedAt: 50n }, true);
	await refused;
});

test("a task from a checkpoint has its pid from the start, and its exit is told", async () => {
	const { tasks } = world.manager;
	assert.deepEqual(await tasks.create({ ...creationOf("web"), checkpoint: "/images" }, call), { pid: 0 });
	const { pid } = await tasks.start(init, call);
	assert.notEqual(pid, 0);
	assert.equal((await tasks.get(init, call)).pid, pid);
	assert.deepEqual([...world.witness.watched.keys()], [pid]);
	const exit = tasks.wait(init, call);
	await world.shim.exit("web", 7);
	assert.equal((await exit).exitStatus, 7);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start", "/tasks/exit 7"]);
});

test("a task from a checkpoint that ends before the answer to its start is told to have started and exited", async () => {
	await world.manager.tasks.create({ ...creationOf("web"), checkpoint: "/images" }, call);
	world.shim.next("start", async () => {
		world.shim.process("web").pid = 4711;
		await world.shim.exit("web", 3);
	});
	await world.manager.tasks.start(init, call);
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 3);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start", "/tasks/exit 3"]);
});

test("a task from a checkpoint whose start was not answered has its pid from the shim's state", async () => {
	await world.manager.tasks.create({ ...creationOf("web"), checkpoint: "/images" }, call);
	world.shim.next("start", async () => {
		Object.assign(world.shim.process("web"), { pid: 4711, status: 2 });
		throw new DaemonError("Unavailable", { kind: "test", id: "web" }, "connection lost");
	});
	await assert.rejects(world.manager.tasks.start(init, call));
	await stateOf("running");
	assert.equal((await world.manager.tasks.get(init, call)).pid, 4711);
	await world.shim.exit("web", 6);
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 6);
});

test("a task that was there before a restart leaves its name to the next one", async () => {
	await running();
	await world.stop();
	world = await openWorld(store, places, world.shim);
	await stateOf("running");
	await world.shim.exit("web", 7);
	await world.manager.tasks.delete(web, call);
	await running();
});

test("an exit that only the daemon's pidfd saw is told when no shim can say more", async () => {
	const pid = await running();
	await world.registry.tell(web, { type: "shim.lost" });
	world.witness.watched.get(pid)?.({ known: true, exitStatus: 5, exitedAt: 50n }, true);
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 5);
	world.shim.process("web").exitedAt = 51n;
	await world.shim.exit("web", 5);
	assert.deepEqual((await world.events()).slice(2), ["/tasks/exit 5"]);
});

test("the shim of a silent exit is asked: the witness alone does not decide while the shim lives", async () => {
	const pid = await running();
	const process = world.shim.process("web");
	Object.assign(process, { status: 3, exitStatus: 6, exitedAt: 60n });
	world.witness.watched.get(pid)?.({ known: false, exitStatus: 255, exitedAt: 61n }, true);
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 6);
});

test("a shim that is buried with its container ends the task", async () => {
	await running();
	await world.registry.tell(web, { type: "shim.buried", exitStatus: 137, exitedAt: 70n });
	assert.equal((await world.manager.tasks.wait(init, call)).exitStatus, 137);
	world.shim.processes.clear();
	await world.manager.tasks.delete(web, call);
	assert.deepEqual((await world.events()).slice(2), ["/tasks/exit 137", "/tasks/delete"]);
});

async function restart(): Promise<void> {
	const { shim } = world;
	await world.stop();
	world = await openWorld(store, places, shim);
	await world.manager.reconciled();
}

test("after a restart a running task runs on, and its exit is told once", async () => {
	const pid = await running();
	await restart();
	assert.equal((await world.manager.tasks.get(init, call)).status, "running");
	assert.ok(world.witness.watched.has(pid));
	await world.shim.exit("web", 8, "", 2);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start", "/tasks/exit 8"]);
});

test("an exit while the daemon was away is told by the reconciliation, and not again by the shim's report", async () => {
	await running();
	const { shim } = world;
	await world.stop();
	shim.report = async () => {
		throw new Error("the daemon is away");
	};
	await assert.rejects(shim.exit("web", 9));
	world = await openWorld(store, places, shim);
	await world.manager.reconciled();
	assert.equal((await world.manager.tasks.get(init, call)).exitStatus, 9);
	await shim.exit("web", 9);
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start", "/tasks/exit 9"]);
});

test("a start that was under way at the restart is told if it happened", async () => {
	await world.manager.tasks.create(creationOf("web"), call);
	const hangs = Promise.withResolvers<void>();
	const reached = Promise.withResolvers<void>();
	world.shim.next("start", () => {
		world.shim.process("web").status = 2;
		reached.resolve();
		return hangs.promise;
	});
	const starting = world.manager.tasks.start(init, call);
	starting.catch(() => {});
	await reached.promise;
	await restart();
	await assert.rejects(starting);
	hangs.resolve();
	assert.equal((await world.manager.tasks.get(init, call)).status, "running");
	assert.deepEqual(await world.events(), ["/tasks/create", "/tasks/start"]);
});

test("a creation that was under way at the restart is undone", async () => {
	const hangs = Promise.withResolvers<void>();
	const reached = Promise.withResolvers<void>();
	world.shim.next("create", () => {
		reached.resolve();
		return hangs.promise;
	});
	const creating = world.manager.tasks.create(creationOf("web"), call);
	creating.catch(() => {});
	await reached.promise;
	world.shim.processes.set("web/", { pid: 99, status: 1, exitStatus: 0, exitedAt: 0n });
	await restart();
	await stateOf("gone");
	assert.equal(world.shim.processes.size, 0);
	assert.equal(existsSync(world.bundles.path(web)), false);
	hangs.resolve();
	assert.deepEqual(await world.events(), []);
});

test("a container that vanished while the daemon was away has exited with 255", async () => {
	await running();
	world.shim.processes.clear();
	await restart();
	const { status, exitStatus } = await world.manager.tasks.get(init, call);
	assert.deepEqual([status, exitStatus], ["stopped", 255]);
	await world.manager.tasks.delete(web, call);
});

test("an exec that ended while the daemon was away is told", async () => {
	await running();
	await world.manager.tasks.exec({ ...sh, stdio, spec }, call);
	await world.manager.tasks.start(sh, call);
	Object.assign(world.shim.process("web", "sh"), { status: 3, exitStatus: 4, exitedAt: 40n });
	await restart();
	assert.equal((await world.manager.tasks.wait(sh, call)).exitStatus, 4);
	assert.equal((await world.events()).at(-1), "/tasks/exit sh 4");
});

test("a sweep removes the bundles that no task owns, and only these", async () => {
	await running();
	const orphan = { namespace: "default", id: "orphan" };
	await mkdir(join(world.bundles.path(orphan), "rootfs"), { recursive: true });
	await mkdir(join(world.bundles.path({ namespace: "default", id: ".half" })), { recursive: true });
	await world.manager.sweep(new AbortController().signal);
	assert.deepEqual(await world.bundles.list(), [web]);
});
