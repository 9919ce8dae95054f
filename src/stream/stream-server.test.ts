import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { get, request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { WebSocket } from "ws";
import type { ActorInspection } from "../../actors/kernel/inspection.ts";
import { TaskExit } from "../gen/containerd/events/task.ts";
import { silentLog } from "../log/log.ts";
import { memoryStore } from "../metadata/store/memory-store.ts";
import type { Store } from "../metadata/store/store.ts";
import type { ActorTree } from "./actor-tree.ts";
import { createStreamServer, type StreamServer, subprotocol } from "./stream-server.ts";

const actor: ActorInspection = {
	node: "actor",
	path: "/task-manager/default/web",
	kind: "task",
	identity: { kind: "task", namespace: "default", id: "web" },
	status: "running",
	durable: true,
	restarts: 1,
	state: "running",
	since: 17,
	mailbox: { system: 0, user: 2, capacity: 1024 },
	stashed: 1,
	openRequests: 0,
	deadlines: [],
	processed: 4,
	busyMs: 250,
	transitions: [],
};
const actors: ActorTree = {
	inspect: () => [actor],
	inspectOne: (path) => (path === actor.path ? { ...actor, waiting: [] } : undefined),
	deadLetters: [],
	counters: { lateReplies: 0, deadLetters: 3, overflows: 0, crashes: 0 },
};

interface Fixture {
	readonly store: Store;
	readonly server: StreamServer;
	readonly address: string;
	readonly socketPath: string;
}

async function withServer(run: (fixture: Fixture) => Promise<void>): Promise<void> {
	const directory = mkdtempSync(join(tmpdir(), "troupe-stream-"));
	const store = memoryStore();
	const server = createStreamServer({ journal: store.journal, actors, log: silentLog });
	const address = await server.listen("127.0.0.1:0");
	const socketPath = join(directory, "http");
	const unix: Server = createServer((socket) => server.accept(socket));
	unix.listen(socketPath);
	await once(unix, "listening");
	try {
		await run({ store, server, address, socketPath });
	} finally {
		await server.close();
		unix.close();
		await store.close();
		rmSync(directory, { recursive: true });
	}
}

const exitEvent = (store: Store, exitStatus: number): Promise<void> =>
	store.update((tx) =>
		tx.record({
			kind: "event",
			namespace: "default",
			subject: "/tasks/exit",
			body: {
				typeUrl: "containerd.events.TaskExit",
				value: TaskExit.encode(
					TaskExit.fromPartial({
						containerId: "web",
						id: "web",
						pid: 7,
						exitStatus,
						exitedAt: { seconds: 1n, nanos: 5 },
					}),
				).finish(),
			},
		}),
	);

/** Opens a WebSocket and hands out its messages one by one. */
function follow(url: string, options: ConstructorParameters<typeof WebSocket>[2] = {}) {
	const socket = new WebSocket(url, subprotocol, options);
	const messages: Record<string, unknown>[] = [];
	const waiting: ((message: Record<string, unknown>) => void)[] = [];
	socket.on("message", (data) => {
		const message = JSON.parse(String(data));
		const waiter = waiting.shift();
		if (waiter === undefined) messages.push(message);
		else waiter(message);
	});
	const next = (): Promise<Record<string, unknown>> => {
		const message = messages.shift();
		return message === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(message);
	};
	return { socket, opened: once(socket, "open", { signal: AbortSignal.timeout(5000) }), next };
}

async function fetchText(
	options: RequestOptions,
): Promise<{ status: number | undefined; headers: IncomingMessage["headers"]; body: string }> {
	const [response] = (await once(get({ ...options, agent: false }), "response")) as [IncomingMessage];
	return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

const at = (address: string, path: string): RequestOptions => ({
	host: "127.0.0.1",
	port: Number(address.split(":")[1]),
	path,
});

test("an event is a CloudEvent with its payload decoded, over TCP and over the unix socket", () =>
	withServer(async ({ store, address, socketPath }) => {
		for (const url of [`ws://${address}/v1/stream`, `ws+unix://${socketPath}:/v1/stream`]) {
			const reader = follow(url);
			await reader.opened;
			assert.equal(reader.socket.protocol, subprotocol);
			await exitEvent(store, 3);
			const { time, id, sequence, ...event } = await reader.next();
			assert.match(String(time), /^\d{4}-\d\d-\d\dT.*Z$/);
			assert.equal(id, String(store.journal.last));
			assert.equal(sequence, id);
			assert.deepEqual(event, {
				specversion: "1.0",
				source: "/troupe",
				subject: "/tasks/exit",
				namespace: "default",
				sequencetype: "Integer",
				type: "containerd.events.TaskExit",
				datacontenttype: "application/json",
				data: {
					containerId: "web",
					id: "web",
					pid: 7,
					exitStatus: 3,
					exitedAt: "1970-01-01T00:00:01.000000005Z",
					unknown: false,
				},
			});
			reader.socket.terminate();
		}
	}));

test("a transition is a CloudEvent, and an unknown payload travels as base64", () =>
	withServer(async ({ store, address }) => {
		const reader = follow(`ws://${address}/v1/stream?since=0`);
		await store.update((tx) => {
			tx.record({
				kind: "transition",
				namespace: "",
				subject: "/gc",
				body: { from: "idle", to: "marking", message: "go" },
			});
			tx.record({
				kind: "event",
				namespace: "a",
				subject: "/my/topic",
				body: { typeUrl: "my.Type", value: new Uint8Array([1, 2, 255]) },
			});
		});
		const first = await reader.next();
		assert.equal(first.type, "troupe.actor.transition");
		assert.deepEqual(first.data, { from: "idle", to: "marking", message: "go" });
		assert.ok(!("namespace" in first));
		const second = await reader.next();
		assert.deepEqual([second.type, second.data_base64], ["my.Type", "AQL/"]);
		reader.socket.terminate();
	}));

test("readers on real sockets see every record once while commits go on", () =>
	withServer(async ({ store, address }) => {
		const total = 400;
		const readers: Promise<void>[] = [];
		for (let n = 1; n <= total; n++) {
			await exitEvent(store, n % 256);
			if (n % 50 !== 0) continue;
			const since = n - 37;
			const reader = follow(`ws://${address}/v1/stream?since=${since}`);
			readers.push(
				(async () => {
					for (let seq = since + 1; seq <= total; seq++) assert.equal((await reader.next()).id, String(seq));
					reader.socket.terminate();
				})(),
			);
		}
		await Promise.all(readers);
	}));

test("plain HTTP gives the same records as lines, and ends when asked to", () =>
	withServer(async ({ store, socketPath }) => {
		for (let n = 0; n < 3; n++) await exitEvent(store, n);
		const { body, headers } = await fetchText({ socketPath, path: "/v1/stream?since=1&follow=false&topic=/tasks" });
		assert.equal(headers["content-type"], "application/x-ndjson");
		const lines = body.trim().split("\n");
		assert.deepEqual(
			lines.map((line) => JSON.parse(line).id),
			["2", "3"],
		);
	}));

test("a page from elsewhere gets nothing: Host and Origin must be loopback", () =>
	withServer(async ({ address, socketPath }) => {
		const status = async (headers: Record<string, string>) =>
			(await fetchText({ ...at(address, "/v1/actors"), headers })).status;
		assert.equal(await status({}), 200);
		assert.equal(await status({ host: "localhost:7010", origin: "http://localhost:7010" }), 200);
		assert.equal(await status({ host: "evil.example" }), 403);
		assert.equal(await status({ host: "127.0.0.1.evil.example" }), 403);
		assert.equal(await status({ origin: "https://evil.example" }), 403);
		assert.equal(await status({ origin: "null" }), 403);
		assert.equal((await fetchText({ socketPath, path: "/healthz", headers: { host: "anything" } })).status, 200);
		const reader = new WebSocket(`ws://${address}/v1/stream`, { headers: { origin: "https://evil.example" } });
		const [error] = await once(reader, "error");
		assert.match(String(error), /403/);
	}));

test("the tree, one actor, metrics, health and the page are served", () =>
	withServer(async ({ address }) => {
		const tree = JSON.parse((await fetchText(at(address, "/v1/actors"))).body);
		assert.equal(tree.sequence, 0);
		assert.equal(tree.actors[0].path, actor.path);
		const one = JSON.parse((await fetchText(at(address, `/v1/actors?path=${actor.path}`))).body);
		assert.deepEqual(one.waiting, []);
		assert.equal((await fetchText(at(address, "/v1/actors?path=/nobody"))).status, 404);
		const metrics = (await fetchText(at(address, "/metrics"))).body;
		assert.match(metrics, /^troupe_actors\{kind="task",state="running"\} 1$/m);
		assert.match(metrics, /^troupe_actor_mailbox_messages\{kind="task"\} 3$/m);
		assert.match(metrics, /^troupe_actor_dead_letters_total 3$/m);
		assert.match(metrics, /^process_cpu_seconds_total /m);
		assert.equal((await fetchText(at(address, "/healthz"))).body, "ok\n");
		assert.match((await fetchText(at(address, "/"))).body, /<title>Troupe<\/title>/);
		assert.equal((await fetchText(at(address, "/nothing"))).status, 404);
	}));

test("a position ahead of the journal, a bad filter and another method are refused", () =>
	withServer(async ({ address }) => {
		assert.equal((await fetchText(at(address, "/v1/stream?since=9"))).status, 400);
		assert.equal((await fetchText(at(address, "/v1/stream?topics=/x"))).status, 400);
		const request = httpRequest({ ...at(address, "/v1/actors"), method: "POST", agent: false });
		request.end();
		const [response] = (await once(request, "response")) as [IncomingMessage];
		assert.equal(response.statusCode, 405);
		response.resume();
	}));

test("only loopback addresses are listened on", async () => {
	const store = memoryStore();
	const server = createStreamServer({ journal: store.journal, actors, log: silentLog });
	for (const address of ["0.0.0.0:0", "10.0.0.1:80", ":7010", "127.0.0.1"])
		assert.throws(() => server.listen(address), { code: "InvalidArgument" });
	await server.close();
});

test("closing the server ends its streams", () =>
	withServer(async ({ server, address }) => {
		const reader = follow(`ws://${address}/v1/stream`);
		await reader.opened;
		const closed = once(reader.socket, "close");
		await server.close();
		await closed;
	}));
