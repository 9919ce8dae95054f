/** The acceptance of a container's life: real image, real containers, real kills. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { TasksDefinition } from "../../src/gen/containerd/services/tasks/v1/tasks.ts";
import { DaemonUnderTest, type StreamEvent } from "../fixtures/daemon-under-test.ts";
import { eventually, within } from "../fixtures/deadline.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { execSpec } from "./shim-host.ts";

const skip = process.getuid?.() === 0 ? false : "real containers need root";

describe("containers under a real daemon", { skip }, () => {
	let daemon: DaemonUnderTest;

	before(async () => {
		daemon = await DaemonUnderTest.open();
		await daemon.succeed("pull", daemon.image.reference);
	});

	after(() => daemon.close());

	const image = (): string => daemon.image.reference;

	/** Reads the stream until every container of `ids` has exited; fails on a second exit of one of them. */
	async function exitsOf(ids: readonly string[], since: number): Promise<Map<string, number>> {
		const exits = new Map<string, number>();
		const query = `namespace=${daemon.namespace}&topic=/tasks/exit&since=${since}`;
		for await (const { data } of daemon.events(query)) {
			const id = String(data.containerId);
			if (!ids.includes(id)) continue;
			assert.equal(exits.has(id), false, `a second exit of ${id}`);
			exits.set(id, Number(data.exitStatus));
			if (exits.size === ids.length) break;
		}
		return exits;
	}

	/** Exits of `ids` in what the journal holds now. */
	async function exitsCounted(ids: readonly string[], since: number): Promise<Map<string, number>> {
		const counts = new Map<string, number>();
		const query = `namespace=${daemon.namespace}&topic=/tasks/exit&since=${since}&follow=false`;
		try {
			for await (const event of daemon.events(query))
				if (isExit(event, ids))
					counts.set(String(event.data.containerId), (counts.get(String(event.data.containerId)) ?? 0) + 1);
		} catch (error) {
			if (!(error instanceof Error) || !error.message.includes("closed")) throw error;
		}
		return counts;
	}

	const isExit = (event: StreamEvent, ids: readonly string[]): boolean =>
		event.subject === "/tasks/exit" && ids.includes(String(event.data.containerId));

	/** Sequence number of the newest record. */
	async function newest(): Promise<number> {
		const outcome = await daemon.succeed("--output", "json", "events");
		const ids = outcome
			.trim()
			.split("\n")
			.filter(Boolean)
			.map((line) => Number((JSON.parse(line) as { id: string }).id));
		return ids.filter(Number.isFinite).at(-1) ?? 0;
	}

	test("the exit code of the container is the exit code of run", async () => {
		const { code } = await daemon.troupe("run", "--rm", image(), "sh", "-c", "exit 7");
		assert.equal(code, 7);
	});

	test("output arrives whole, also when it is long", async () => {
		const { code, stdout } = await daemon.troupe("run", "--rm", image(), "sh", "-c", "seq 1 50000");
		assert.equal(code, 0);
		assert.equal(stdout, Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join(""));
	});

	test("fifty containers at once exit with their own codes", async () => {
		const since = await newest();
		const ids = Array.from({ length: 50 }, (_, index) => `many-${index}`);
		const codes = await Promise.all(
			ids.map(
				async (id, index) =>
					(await daemon.troupe("run", "--rm", "--name", id, image(), "sh", "-c", `exit ${index + 1}`)).code,
			),
		);
		assert.deepEqual(
			codes,
			ids.map((_, index) => index + 1),
		);
		const exits = await within(30_000, "fifty exits on the stream", () => exitsOf(ids, since));
		assert.deepEqual(
			ids.map((id) => exits.get(id)),
			codes,
		);
	});

	test("twenty containers that exit while the daemon is dead are reported exactly once after its restart", async () => {
		const ids = Array.from({ length: 20 }, (_, index) => `gone-${index}`);
		// each waits for its file: it exits while nobody is there to see it, however slow the host
		for (const [index, id] of ids.entries())
			await daemon.succeed(
				"run",
				"-d",
				"--name",
				id,
				"--mount",
				`type=bind,src=${daemon.directory},dst=/mnt,options=rbind:ro`,
				image(),
				"sh",
				"-c",
				`while [ ! -e /mnt/go ]; do sleep 0.05; done; exit ${index + 20}`,
			);
		const since = await newest();
		await daemon.kill();
		await writeFile(`${daemon.directory}/go`, "");
		await within(30_000, "the containers end", async (signal) => {
			while (containersAlive(daemon.namespace) > 0) {
				signal.throwIfAborted();
				await new Promise((retry) => setTimeout(retry, 50));
			}
		});
		await daemon.start();
		const exits = await within(30_000, "twenty exits on the stream", () => exitsOf(ids, since));
		assert.deepEqual(
			ids.map((id) => exits.get(id)),
			ids.map((_, index) => index + 20),
		);
		for (const id of ids) await daemon.succeed("rm", id);
		assert.deepEqual(
			[...(await exitsCounted(ids, since)).values()],
			ids.map(() => 1),
		);
		assert.deepEqual(
			daemon.leftovers().filter((line) => !line.startsWith("process")),
			[],
		);
	});

	test("containers live on when their shim is killed, are adopted, and can be killed and removed", async () => {
		const ids = Array.from({ length: 5 }, (_, index) => `orphan-${index}`);
		for (const id of ids) await daemon.succeed("run", "-d", "--name", id, image(), "sleep", "100000");
		const since = await newest();
		const shards = daemon
			.shims()
			.filter((pid) => childrenOf(pid).length > 0 && !childrenOf(pid).some((child) => daemon.shims().includes(child)));
		assert.notEqual(shards.length, 0);
		for (const pid of shards) process.kill(pid, "SIGKILL");
		assert.equal(containersAlive(daemon.namespace), 5);
		for (const id of ids) await daemon.succeed("kill", "--signal", "KILL", id);
		const exits = await within(60_000, "five exits on the stream", () => exitsOf(ids, since));
		assert.deepEqual(
			ids.map((id) => exits.get(id)),
			ids.map(() => 137),
		);
		for (const id of ids) await daemon.succeed("rm", id);
		assert.deepEqual(
			daemon.leftovers().filter((line) => !line.startsWith("process")),
			[],
		);
	});

	test("a terminal whose master dies with shard and standby is said to be lost; its container lives on", async () => {
		await daemon.succeed("run", "-d", "--name", "hung", image(), "sleep", "100000");
		const tasks = connect(daemon.socket, daemon.namespace, TasksDefinition);
		const spec = execSpec(["sh", "-c", "trap '' HUP; exec sleep 100000"]);
		await tasks.exec({ containerId: "hung", execId: "e", terminal: true, spec });
		const { pid: ignoring } = await tasks.start({ containerId: "hung", execId: "e" });
		await eventually(10_000, "it ignores the hangup", () =>
			readFileSync(`/proc/${ignoring}/cmdline`, "utf8").startsWith("sleep") ? true : undefined,
		);
		const since = await newest();
		for (const pid of daemon.shims()) process.kill(pid, "SIGKILL");
		const query = `namespace=${daemon.namespace}&topic=/troupe/stdio-lost&since=${since}`;
		const lost = await within(30_000, "the loss on the stream", async () => {
			for await (const { data } of daemon.events(query)) return data;
			return undefined;
		});
		assert.deepEqual(lost, { containerId: "hung", lost: ["the terminal of exec e: nobody holds its master any more"] });
		assert.equal(containersAlive(daemon.namespace), 1);
		await daemon.succeed("kill", "--signal", "KILL", "hung");
		const ended = await tasks.wait({ containerId: "hung" }, { deadline: Date.now() + 30_000 });
		assert.equal(ended.exitStatus, 137);
		await daemon.succeed("rm", "hung");
	});
});

/** Processes in the cgroups of a namespace. */
function containersAlive(namespace: string): number {
	const pids = existsSync("/sys/fs/cgroup/cgroup.procs")
		? `/sys/fs/cgroup/${namespace}`
		: `/sys/fs/cgroup/pids/${namespace}`;
	if (!existsSync(pids)) return 0;
	let alive = 0;
	for (const entry of readdirSync(pids, { withFileTypes: true }))
		if (entry.isDirectory() && readFileSync(`${pids}/${entry.name}/cgroup.procs`, "utf8") !== "") alive++;
	return alive;
}

const childrenOf = (pid: number): number[] =>
	readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
