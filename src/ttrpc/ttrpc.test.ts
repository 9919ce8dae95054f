import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import { TaskDefinition } from "../gen/containerd/runtime/task/v2/shim.ts";
import { Request, Response } from "../gen/ttrpc/request.ts";
import { connect, type TtrpcClient } from "./client.ts";
import { encodeFrame, FrameReader, maximumData } from "./frame.ts";
import { implementation, type ServerCall, serve, type TtrpcServer } from "./server.ts";

const directory = mkdtempSync(join(tmpdir(), "troupe-ttrpc-"));
const path = join(directory, "s");
let server: TtrpcServer;
let client: TtrpcClient;
const seen: ServerCall[] = [];
const waiting: ServerCall[] = [];
const errors: DaemonError[] = [];
const task = { kind: "task", namespace: "test", id: "web" };

const tasks = implementation(TaskDefinition, {
	state(request, call) {
		seen.push(call);
		return { ...emptyState, id: request.id, pid: 42 };
	},
	wait: (_, call) => {
		waiting.push(call);
		return new Promise((_resolve, reject) => {
			call.signal.addEventListener("abort", () => reject(new DaemonError("Canceled", task, "given up")));
		});
	},
	kill: () => Promise.reject(new DaemonError("NotFound", task, "process already finished")),
	pause: () => {
		throw new TypeError("a mistake of ours");
	},
	connect: () => ({ shimPid: 1, taskPid: 2, version: "x".repeat(maximumData) }),
});
const emptyState = {
	id: "",
	bundle: "",
	pid: 0,
	status: 0,
	stdin: "",
	stdout: "",
	stderr: "",
	terminal: false,
	exitStatus: 0,
	exitedAt: undefined,
	execId: "",
	unknown: false,
} as const;

before(async () => {
	server = await serve(path, [tasks], { onError: (error) => errors.push(error) });
	client = await connect(`unix://${path}`);
});
after(async () => {
	client.close();
	await server.close();
	rmSync(directory, { recursive: true });
});

const refusal = async (call: Promise<unknown>): Promise<DaemonError> => {
	const reason = await call.then(
		() => assert.fail("not refused"),
		(error: unknown) => error,
	);
	assert.ok(reason instanceof DaemonError, String(reason));
	return reason;
};

test("a call is answered; namespace, metadata and timeout arrive", async () => {
	const state = await client
		.service(TaskDefinition)
		.state({ id: "web" }, { namespace: "k8s.io", metadata: { Trace: "1" }, timeoutMs: 1500 });
	assert.equal(state.pid, 42);
	assert.equal(state.id, "web");
	assert.equal(seen[0]?.namespace, "k8s.io");
	assert.equal(seen[0]?.metadata.trace, "1");
	assert.equal(seen[0]?.timeoutMs, 1500);
});

test("the socket is for its owner only", () => {
	assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("an error keeps its code and its words, and names the object once", async () => {
	const error = await refusal(client.service(TaskDefinition).kill({ id: "web" }, { object: task }));
	assert.equal(error.code, "NotFound");
	assert.equal(error.message, 'task "web" in namespace "test": process already finished');
});

test("an unforeseen error is Unknown and is reported", async () => {
	const error = await refusal(client.service(TaskDefinition).pause({ id: "web" }));
	assert.equal(error.code, "Unknown");
	assert.match(errors.at(-1)?.message ?? "", /a mistake of ours/);
});

test("unknown services and methods are Unimplemented", async () => {
	assert.equal((await refusal(client.service(TaskDefinition).stats({ id: "web" }))).code, "Unimplemented");
	assert.equal((await refusal(client.call("no.Service", "X", new Uint8Array(0)))).code, "Unimplemented");
});

test("a call that is not answered ends with DeadlineExceeded while others go on", async () => {
	const slow = refusal(client.service(TaskDefinition).wait({ id: "web" }, { timeoutMs: 60 }));
	const states = await Promise.all(
		Array.from({ length: 100 }, (_, index) => client.service(TaskDefinition).state({ id: `c${index}` })),
	);
	assert.deepEqual(
		states.map(({ id }) => id),
		Array.from({ length: 100 }, (_, index) => `c${index}`),
	);
	assert.equal((await slow).code, "DeadlineExceeded");
	assert.equal(client.openCalls, 0);
});

test("an abort gives the call up", async () => {
	const controller = new AbortController();
	const call = refusal(client.service(TaskDefinition).wait({ id: "web" }, { signal: controller.signal }));
	controller.abort();
	assert.equal((await call).code, "Canceled");
	assert.equal(
		(await refusal(client.service(TaskDefinition).wait({}, { signal: controller.signal }))).code,
		"Canceled",
	);
});

test("messages over 4 MiB are ResourceExhausted on both ends, and the connection lives", async () => {
	const own = await refusal(client.service(TaskDefinition).state({ id: "x".repeat(maximumData) }));
	assert.equal(own.code, "ResourceExhausted");
	assert.equal((await refusal(client.service(TaskDefinition).connect({}))).code, "ResourceExhausted");

	const raw = createConnection(path);
	const answers: { stream: number; code: number }[] = [];
	const answered = new Promise<void>((resolve) => {
		const reader = new FrameReader({
			oversize: () => assert.fail("oversize answer"),
			frame: ({ stream, data }) => {
				answers.push({ stream, code: Response.decode(data).status?.code ?? 0 });
				if (answers.length === 2) resolve();
			},
		});
		raw.on("data", (chunk: Buffer) => reader.push(chunk));
	});
	const head = Buffer.alloc(10);
	head.writeUInt32BE(maximumData + 5, 0);
	head.writeUInt32BE(1, 4);
	head.writeUInt8(1, 8);
	raw.write(Buffer.concat([head, Buffer.alloc(maximumData + 5)]));
	const request = { service: "containerd.task.v2.Task", method: "State", payload: new Uint8Array(0) };
	const data = Request.encode({ ...request, timeoutNano: 0n, metadata: [] }).finish();
	raw.write(encodeFrame({ stream: 3, type: 1, flags: 0, data }));
	await answered;
	assert.deepEqual(answers, [
		{ stream: 1, code: 8 },
		{ stream: 3, code: 0 },
	]);
	raw.destroy();
});

test("the end of a connection makes its calls Unavailable and aborts them at the server", async () => {
	const other = await connect(path);
	const before = waiting.length;
	const call = refusal(other.service(TaskDefinition).wait({ id: "web" }));
	await other.service(TaskDefinition).state({});
	assert.equal(waiting.length, before + 1);
	const aborted = new Promise((resolve) => waiting.at(-1)?.signal.addEventListener("abort", resolve));
	other.close();
	assert.equal((await call).code, "Unavailable");
	await Promise.all([aborted, other.closed]);
	assert.equal((await refusal(other.service(TaskDefinition).state({}))).code, "Unavailable");
});

test("too many open calls are refused", async () => {
	const other = await connect(path, { maximumCalls: 2 });
	const calls = [1, 2].map(() => refusal(other.service(TaskDefinition).wait({})));
	assert.equal((await refusal(other.service(TaskDefinition).state({}))).code, "ResourceExhausted");
	other.close();
	await Promise.all(calls);
});

test("nobody at the address is Unavailable; an impossible one InvalidArgument", async () => {
	assert.equal((await refusal(connect(join(directory, "nobody")))).code, "Unavailable");
	assert.equal((await refusal(connect(`/${"x".repeat(120)}`))).code, "InvalidArgument");
	assert.equal((await refusal(connect("tcp://localhost"))).code, "InvalidArgument");
});
