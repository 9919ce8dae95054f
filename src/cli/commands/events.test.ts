import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { TaskExit } from "../../gen/containerd/events/task.ts";
import { silentLog } from "../../log/log.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { createStreamServer } from "../../stream/stream-server.ts";
import { outcomeOf } from "../scripted-daemon.test-fixture.ts";

const directory = mkdtempSync(join(tmpdir(), "troupe-events-"));
const address = join(directory, "troupe.sock");
const store = memoryStore();
const counters = { lateReplies: 0, deadLetters: 0, overflows: 0, crashes: 0 };
const actors = { inspect: () => [], inspectOne: () => undefined, deadLetters: [], counters };
const server = createStreamServer({ journal: store.journal, actors, log: silentLog });
const unix: Server = createServer((socket) => server.accept(socket));

before(async () => {
	unix.listen(`${address}.http`);
	await once(unix, "listening");
});
after(async () => {
	await server.close();
	unix.close();
	await store.close();
	rmSync(directory, { recursive: true });
});

const exit = (containerId: string, namespace = "default"): Promise<void> =>
	store.update((tx) => {
		const value = TaskExit.encode(TaskExit.fromPartial({ containerId, id: containerId, exitStatus: 7 })).finish();
		tx.record({
			kind: "event",
			namespace,
			subject: "/tasks/exit",
			body: { typeUrl: "containerd.events.TaskExit", value },
		});
	});
const troupe = (...args: string[]): ChildProcess =>
	spawn(resolve(import.meta.dirname, "../../../scripts/with-node"), [
		resolve(import.meta.dirname, "../main.ts"),
		"--address",
		address,
		...args,
	]);

test("without --follow what the journal keeps is printed, of the own namespace", async () => {
	await exit("one");
	await exit("elsewhere", "other");
	await store.update((tx) =>
		tx.record({ kind: "transition", namespace: "default", subject: "/gc", body: { from: "a", to: "b", message: "m" } }),
	);
	const { code, stdout } = await outcomeOf(troupe("events"));
	assert.equal(code, 0);
	const lines = stdout.trim().split("\n");
	assert.equal(lines.length, 1);
	assert.match(lines[0] ?? "", /^1 \d{4}-.*Z default \/tasks\/exit \{"containerId":"one",.*"exitStatus":7/);
	assert.equal((await outcomeOf(troupe("events", "--since", "1", "-A"))).stdout.trim().split("\n").length, 1);
	const transitions = (await outcomeOf(troupe("events", "--transitions", "--since", "2"))).stdout;
	assert.match(transitions, /^3 \S+ default \/gc a -> b \(m\)\n$/);
});

test("--follow goes on with what happens, as JSON if asked, until its reader leaves", async () => {
	const child = troupe("--output", "json", "events", "--follow", "--since", "0", "--topic", "/tasks");
	assert.ok(child.stdout);
	const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
	assert.equal(JSON.parse((await lines.next()).value ?? "{}").data.containerId, "one");
	await exit("two");
	assert.equal(JSON.parse((await lines.next()).value ?? "{}").data.containerId, "two");
	child.stdout.destroy();
	await exit("three");
	const [code] = await once(child, "exit");
	assert.equal(code, 141);
});

test("a position that is not a number is refused in one line", async () => {
	const { code, stderr } = await outcomeOf(troupe("events", "--since", "yesterday"));
	assert.equal(code, 125);
	assert.equal(stderr, 'troupe: stream parameter "since": "yesterday" is not a sequence number\n');
});
