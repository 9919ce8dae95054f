import assert from "node:assert/strict";
import {
	chmodSync,
	closeSync,
	existsSync,
	openSync,
	readdirSync,
	readFileSync,
	readSync,
	rmSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { DeleteResponse } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { commandLine, execSpec, mkfifo, namespace, ShimHost, services, until } from "./shim-host.ts";

describe("death of shims and of the daemon", () => {
	let host: ShimHost;
	beforeEach(async () => {
		host = await ShimHost.start();
	});
	afterEach(() => host.dispose());

	async function run(id: string, args: readonly string[], stdio: object = {}) {
		const bundle = host.bundle(id, args);
		const shard = await host.shard(id, bundle);
		const { pid } = await shard.task.create({ id, bundle, ...stdio }, { namespace });
		await shard.task.start({ id });
		return { ...shard, id, bundle, pid };
	}

	async function killShard(shard: Awaited<ReturnType<typeof run>>): Promise<void> {
		const { pid } = await shard.own.info({});
		process.kill(pid, "SIGKILL");
		await shard.client.closed;
	}

	async function killStandby(): Promise<void> {
		const standbys = host.processes().filter((pid) => commandLine(pid).includes("standby-process"));
		assert.equal(standbys.length, 1);
		process.kill(standbys[0] ?? 0, "SIGKILL");
		await until("standby is dead", () => !existsSync(`/proc/${standbys[0]}`));
	}

	async function adopter(containers: readonly { id: string; bundle: string }[]) {
		const standby = await host.standby();
		const { address } = await standby.startShard({ namespace, fresh: true });
		const client = await host.connect(address);
		const found = services(client);
		const wanted = containers.map(({ id, bundle }) => ({ containerId: id, bundle }));
		const answer = await found.own.adopt({ containers: wanted });
		return { ...found, client, address, adopted: answer.containers };
	}

	test("20 containers at once: every exit arrives once, with its own status", async () => {
		const ids = Array.from({ length: 20 }, (_, index) => `c${index}`);
		await Promise.all(
			ids.map(async (id, index) => {
				const { task } = await run(id, ["sh", "-c", `exit ${index}`]);
				assert.equal((await task.wait({ id })).exitStatus, index);
				await task.delete({ id });
			}),
		);
		await until("all deletes", () => ids.every((id) => host.topics(id).includes("/tasks/delete")));
		for (const [index, id] of ids.entries())
			assert.deepEqual(
				host.exits(id).map(({ exitStatus }) => exitStatus),
				[index],
			);
		const { shards } = await (await host.standby()).listShards({});
		assert.equal(shards.length, 1, "they share a shard");
	});

	test("containers outlive their shard; the next one adopts, execs, kills and reports them", async () => {
		const living = await run("living", ["sleep", "60"]);
		const waiting = await run("waiting", ["sh", "-c", "sleep 1.5; exit 21"]);
		await living.task.exec({ id: "living", execId: "e", spec: execSpec(["sleep", "60"]) });
		const exec = await living.task.start({ id: "living", execId: "e" });
		await killShard(living);
		const { task, own, adopted } = await adopter([living, waiting]);
		const { shardId } = await own.info({});
		assert.deepEqual(
			adopted.map(({ address: _, ...rest }) => rest),
			[
				{ containerId: "living", pid: living.pid, problem: "", again: false, shardId, lost: [] },
				{ containerId: "waiting", pid: waiting.pid, problem: "", again: false, shardId, lost: [] },
			],
		);
		assert.equal((await task.state({ id: "living" })).status, 2);
		assert.equal((await task.state({ id: "living", execId: "e" })).pid, exec.pid);
		await task.exec({ id: "living", execId: "f", spec: execSpec(["sh", "-c", "exit 5"]) });
		await task.start({ id: "living", execId: "f" });
		assert.equal((await task.wait({ id: "living", execId: "f" })).exitStatus, 5);
		await task.kill({ id: "living", execId: "e", signal: 15 });
		assert.equal((await task.wait({ id: "living", execId: "e" })).exitStatus, 143);
		assert.equal((await task.wait({ id: "waiting" })).exitStatus, 21);
		await task.kill({ id: "living", signal: 9 });
		assert.equal((await task.wait({ id: "living" })).exitStatus, 137);
		for (const id of ["living", "waiting"]) await task.delete({ id });
		await until("exits", () => host.exits("waiting").length === 1 && host.exits("living").length === 3);
	});

	test("an exit while no shard is there is reaped by the standby, reported once, and known to the adopter", async () => {
		const orphan = await run("orphan", ["sh", "-c", "sleep 0.5; exit 33"]);
		await killShard(orphan);
		await until("the exit is reported", () => host.exits("orphan").length === 1);
		assert.equal(host.exits("orphan")[0]?.exitStatus, 33);
		const { orphans } = await (await host.standby()).listOrphans({});
		assert.equal(orphans[0]?.exit?.exitStatus, 33);
		const { task } = await adopter([orphan]);
		const { exitStatus, exitedAt } = await task.wait({ id: "orphan" });
		assert.equal(exitStatus, 33);
		assert.deepEqual(exitedAt, host.exits("orphan")[0]?.exitedAt);
		await task.delete({ id: "orphan" });
		assert.equal(host.exits("orphan").length, 1);
	});

	test("an exit that the shard had journaled but not delivered is delivered after both died", async () => {
		await host.stopDaemon();
		const both = await run("both", ["sh", "-c", "exit 44"]);
		await both.task.wait({ id: "both" });
		await killShard(both);
		await host.startDaemon();
		await until("the exit arrives", () => host.exits("both").length === 1);
		assert.equal(host.exits("both")[0]?.exitStatus, 44);
		const { task } = await adopter([both]);
		assert.equal((await task.delete({ id: "both" })).exitStatus, 44);
	});

	test("exits while the daemon is away are repeated until it acknowledges, once each and in order", async () => {
		const first = await run("first", ["sleep", "60"]);
		host.refusing = true;
		await first.task.kill({ id: "first", signal: 9 });
		assert.equal((await first.task.wait({ id: "first" })).exitStatus, 137);
		await host.stopDaemon();
		const second = await run("second", ["sh", "-c", "exit 2"]);
		await second.task.wait({ id: "second" });
		assert.ok((await second.own.info({})).pendingReports > 0);
		host.refusing = false;
		await host.startDaemon();
		assert.equal((await second.own.flush({})).pending, 0);
		assert.equal(host.exits("first").length, 1);
		assert.deepEqual(host.topics("second"), ["/tasks/create", "/tasks/start", "/tasks/exit"]);
		for (const id of ["first", "second"]) await second.task.delete({ id });
	});

	test("stdin and a terminal survive the shard", async () => {
		const fifo = (bundle: string, name: string) => mkfifo(join(bundle, name));
		const bundle = host.bundle("cat", ["sh", "-c", "read a; echo got $a; read b; echo end $b"], { terminal: true });
		const [stdin, stdout] = [fifo(bundle, "in"), fifo(bundle, "out")];
		const shard = await host.shard("cat", bundle);
		const { pid } = await shard.task.create({ id: "cat", bundle, terminal: true, stdin, stdout }, { namespace });
		await shard.task.start({ id: "cat" });
		const plain = await run("plain", ["sh", "-c", "read a; echo $a; exit 4"], {
			stdin: fifo(host.bundle("plain", []), "in"),
		});
		await killShard({ ...shard, id: "cat", bundle, pid });
		const { task, adopted } = await adopter([{ id: "cat", bundle }, plain]);
		assert.deepEqual(
			adopted.map(({ problem }) => problem),
			["", ""],
		);
		assert.equal((await task.state({ id: "plain" })).status, 2, "no end of file on stdin");
		const [input, output] = [openSync(stdin, "w"), openSync(stdout, "r")];
		writeSync(input, "A\nB\n");
		let text = "";
		await until("output through the adopted terminal", () => {
			const buffer = Buffer.alloc(4096);
			text += buffer.toString("utf8", 0, readSync(output, buffer));
			return text.includes("end B");
		});
		assert.equal((await task.wait({ id: "cat" })).exitStatus, 0);
		await task.closeIO({ id: "plain", stdin: true });
		assert.equal((await task.wait({ id: "plain" })).exitStatus, 4);
		closeSync(input);
		closeSync(output);
		for (const id of ["cat", "plain"]) await task.delete({ id });
	});

	test("a terminal's logger is started anew by the adopter", async () => {
		const bundle = host.bundle("logged", ["sh", "-c", "read a; echo got $a"], { terminal: true });
		const [logger, log, stdin] = [join(bundle, "logger"), join(bundle, "log"), mkfifo(join(bundle, "in"))];
		writeFileSync(logger, `#!/bin/sh\nexec 5>&-\necho "for $CONTAINER_ID" >>"${log}"\ncat <&3 >>"${log}"\n`);
		chmodSync(logger, 0o755);
		const shard = await host.shard("logged", bundle);
		const stdout = `binary://${logger}`;
		const { pid } = await shard.task.create({ id: "logged", bundle, terminal: true, stdin, stdout }, { namespace });
		await shard.task.start({ id: "logged" });
		await killShard({ ...shard, id: "logged", bundle, pid });
		const { task, adopted } = await adopter([{ id: "logged", bundle }]);
		assert.deepEqual([adopted[0]?.problem, adopted[0]?.lost], ["", []]);
		const input = openSync(stdin, "w");
		writeSync(input, "A\n");
		await task.wait({ id: "logged" });
		closeSync(input);
		await task.delete({ id: "logged" });
		assert.equal(readFileSync(log, "utf8"), "for logged\nfor logged\nA\r\ngot A\r\n");
	});

	test("what of its stdio cannot be opened again is said by the adopter", async () => {
		const ignoring = ["sh", "-c", "trap '' HUP; echo ready; sleep 60"];
		const bundle = host.bundle("hung", ignoring, { terminal: true });
		const [logger, stdin, stdout] = [join(bundle, "gone"), mkfifo(join(bundle, "in")), mkfifo(join(bundle, "out"))];
		writeFileSync(logger, "#!/bin/sh\nexec 5>&-\ncat <&3 >/dev/null\n");
		chmodSync(logger, 0o755);
		const shard = await host.shard("hung", bundle);
		const { pid } = await shard.task.create({ id: "hung", bundle, terminal: true, stdin, stdout }, { namespace });
		await shard.task.start({ id: "hung" });
		await shard.task.exec({
			id: "hung",
			execId: "e",
			terminal: true,
			stdout: `binary://${logger}`,
			spec: execSpec(ignoring),
		});
		await shard.task.start({ id: "hung", execId: "e" });
		const output = openSync(stdout, "r");
		assert.ok(readSync(output, Buffer.alloc(64)) > 0, "it ignores the hangup");
		closeSync(output);
		for (const path of [logger, stdin]) rmSync(path);
		await killStandby();
		await killShard({ ...shard, id: "hung", bundle, pid });
		const { task, adopted } = await adopter([{ id: "hung", bundle }]);
		assert.equal(adopted[0]?.problem, "");
		assert.deepEqual(adopted[0]?.lost.map((each) => each.replace(/: .*/, "")).toSorted(), [
			"its terminal",
			"stdin",
			"stdout of exec e",
			"the terminal of exec e",
		]);
		assert.equal((await task.state({ id: "hung" })).status, 2);
		await task.kill({ id: "hung", signal: 9 });
		await task.wait({ id: "hung" });
		await task.delete({ id: "hung" });
	});

	test("a standby that was killed is replaced; shards register again and their orphans are still witnessed", async () => {
		const task = await run("witnessed", ["sh", "-c", "sleep 2; exit 12"]);
		await killStandby();
		const standby = await host.standby();
		// the shard registers again by itself
		for (let count = 0; count === 0; ) count = (await standby.listShards({})).shards.length;
		await killShard(task);
		await until("the exit is told", () => host.exits("witnessed").length === 1);
		assert.equal(host.exits("witnessed")[0]?.exitStatus, 12);
		const next = await adopter([task]);
		assert.equal((await next.task.delete({ id: "witnessed" })).exitStatus, 12);
	});

	test("an exit in the journal of a shard that died while there was no standby is delivered by the next one", async () => {
		await host.stopDaemon();
		const lonely = await run("lonely", ["sh", "-c", "exit 45"]);
		await lonely.task.wait({ id: "lonely" });
		await killStandby();
		await killShard(lonely);
		await host.startDaemon();
		await host.standby();
		await until("the exit arrives", () => host.exits("lonely").length === 1);
		assert.equal(host.exits("lonely")[0]?.exitStatus, 45);
		const { task } = await adopter([lonely]);
		assert.equal((await task.delete({ id: "lonely" })).exitStatus, 45);
	});

	test("what shards leave that nobody has known is taken away by the next standby", async () => {
		const standby = await host.standby();
		const { address } = await standby.startShard({ namespace, fresh: true });
		const socket = address.replace("unix://", "");
		await killStandby();
		for (const pid of host.processes()) process.kill(pid, "SIGKILL");
		const journals = join(host.directory, "state/journal");
		writeFileSync(join(journals, "unfinished.jsonl.new"), "");
		writeFileSync(join(host.sockets, "c-4194305-1"), ""); // a console's, of a pid that cannot be
		assert.ok(existsSync(socket));
		const { shards } = await (await host.standby()).listShards({});
		assert.deepEqual(shards, []);
		assert.equal(existsSync(socket), false);
		assert.equal(existsSync(join(host.sockets, "c-4194305-1")), false);
		assert.deepEqual(readdirSync(journals), ["standby.jsonl"]);
	});

	test("a container that a living shard has taken stays there, whoever else is asked to adopt it", async () => {
		const shared = await run("shared", ["sleep", "60"]);
		await killShard(shared);
		const first = await adopter([shared]);
		const second = await adopter([shared]);
		const { shardId } = await first.own.info({});
		assert.deepEqual(
			second.adopted.map(({ shardId, address, problem }) => ({ shardId, address, problem })),
			[{ shardId, address: first.address, problem: "" }],
		);
		assert.deepEqual((await second.own.info({})).containers, []);
		await first.task.kill({ id: "shared", signal: 9 });
		assert.equal((await first.task.wait({ id: "shared" })).exitStatus, 137);
		await first.task.delete({ id: "shared" });
		assert.equal(host.exits("shared").length, 1);
	});

	test("an exec that was made when its shard died runs for the adopter, and ends with its own status", async () => {
		const making = await run("making", ["sleep", "60"]);
		await making.task.exec({
			id: "making",
			execId: "e",
			spec: execSpec(["sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done"]),
		});
		const { pid } = await making.task.start({ id: "making", execId: "e" });
		await killShard(making);
		// as it is before the shard has heard of the runtime's end
		const file = join(making.bundle, "shim.json");
		const record = JSON.parse(readFileSync(file, "utf8")) as { execs: object[] };
		const execs = record.execs.map((exec) => ({ ...exec, status: "added", pid: 0, startTime: 0 }));
		writeFileSync(file, JSON.stringify({ ...record, execs }));
		const { task } = await adopter([making]);
		const state = await task.state({ id: "making", execId: "e" });
		assert.deepEqual([state.status, state.pid], [2, pid]);
		await task.kill({ id: "making", execId: "e", signal: 15 });
		assert.equal((await task.wait({ id: "making", execId: "e" })).exitStatus, 9);
		await task.kill({ id: "making", signal: 9 });
		await task.wait({ id: "making" });
		await task.delete({ id: "making" });
	});

	test("a container whose shard died before it could tell of the start runs for its adopter", async () => {
		const begun = await run("begun", ["sleep", "60"]);
		await killShard(begun);
		// as it is between the init's going on and the shard's clearing up
		const file = join(begun.bundle, "shim.json");
		const record = JSON.parse(readFileSync(file, "utf8")) as { init: object; runtime: { root: string } };
		writeFileSync(file, JSON.stringify({ ...record, init: { ...record.init, status: "created" } }));
		const fifo = mkfifo(join(record.runtime.root, "begun/exec.fifo"));
		const { task } = await adopter([begun]);
		assert.equal((await task.state({ id: "begun" })).status, 2);
		assert.equal(existsSync(fifo), false, "the OCI runtime would take it for created");
		await task.kill({ id: "begun", signal: 9 });
		await task.wait({ id: "begun" });
		await task.delete({ id: "begun" });
	});

	test("the delete contract: nothing is left of a container whose shard is dead", async () => {
		const dead = await run("dead", ["sleep", "60"]);
		await killShard(dead);
		const { stdout } = await host.run(["-id", "dead", "-bundle", dead.bundle, "delete"], dead.bundle);
		const answer = DeleteResponse.decode(stdout);
		assert.deepEqual([answer.exitStatus, answer.pid], [137, dead.pid]);
		await until("the process is gone", () => !existsSync(`/proc/${dead.pid}`));
	});

	test("delete goes through a shard that lives", async () => {
		const there = await run("there", ["sleep", "60"]);
		const { stdout } = await host.run(["-id", "there", "-bundle", there.bundle, "delete"], there.bundle);
		assert.equal(DeleteResponse.decode(stdout).exitStatus, 137);
		assert.deepEqual((await there.own.info({})).containers, []);
	});

	test("a shard that wanted to end and stayed, for it got a container meanwhile, is given more", async () => {
		const first = await run("first", ["sleep", "60"]);
		const { shards } = await (await host.standby()).listShards({});
		await (await host.standby()).leave({ shardId: shards[0]?.shardId ?? "" });
		const bundle = host.bundle("second", ["sleep", "60"]);
		await first.task.create({ id: "second", bundle }, { namespace });
		const third = await run("third", ["sleep", "60"]);
		assert.equal(third.address, first.address);
		for (const id of ["first", "second", "third"]) {
			await first.task.kill({ id, signal: 9 });
			await first.task.wait({ id });
			await first.task.delete({ id });
		}
	});

	test("a shard that did not answer the delete contract in time lets go of what that has removed", async () => {
		const slow = await run("slow", ["sleep", "60"]);
		const { pid } = await slow.own.info({});
		process.kill(pid, "SIGSTOP");
		try {
			await host.run(["-id", "slow", "-bundle", slow.bundle, "delete"], slow.bundle);
		} finally {
			process.kill(pid, "SIGCONT");
		}
		await until("its exit is told all the same", () => host.exits("slow").length === 1);
		assert.equal(existsSync(join(slow.bundle, "shim.json")), false, "the record does not come back");
		await slow.task.shutdown({ id: "slow" });
		await until("the shard has ended", () => !existsSync(`/proc/${pid}`));
	});
});
