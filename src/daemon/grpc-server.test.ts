import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import { LeasesDefinition } from "../gen/containerd/services/leases/v1/leases.ts";
import { StreamingDefinition } from "../gen/containerd/services/streaming/v1/streaming.ts";
import { VersionDefinition } from "../gen/containerd/services/version/v1/version.ts";
import { HealthDefinition } from "../gen/grpc/health/v1/health.ts";
import { silentLog } from "../log/log.ts";
import { healthService } from "../services/health/health.service.ts";
import { notThereYet, type Service, service, serviceNotThereYet } from "../services/rpc.ts";
import { versionService } from "../services/version/version.service.ts";
import { connectGrpc } from "./grpc-client.test-fixture.ts";
import { serveGrpc } from "./grpc-server.ts";

async function served(t: TestContext, services: readonly Service[]) {
	const folder = await mkdtemp(join(tmpdir(), "troupe-grpc-"));
	const address = join(folder, "t.sock");
	const server = await serveGrpc({ address, services, log: silentLog });
	const client = connectGrpc(address);
	t.after(async () => {
		client[Symbol.dispose]();
		await server.stop(1000);
		await rm(folder, { recursive: true });
	});
	return { address, folder, server, client };
}

const failing = (error: Error): Service =>
	service(LeasesDefinition, {
		create: () => Promise.reject(error),
		delete: notThereYet("leases are never deleted here"),
		list: async (_request, call) => ({ leases: [{ id: call.namespace, createdAt: undefined, labels: {} }] }),
		addResource: async () => {
			throw new DaemonError("NotFound", { kind: "lease", namespace: "a", id: "x" }, "not found");
		},
		deleteResource: async () => ({}),
		listResources: (_request, { signal }) =>
			new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
	});

const code = (expected: string, text?: RegExp) => (error: unknown) => {
	assert.ok(error instanceof DaemonError);
	assert.equal(error.code, expected, error.message);
	if (text !== undefined) assert.match(error.message, text);
	return true;
};

test("a socket of mode 0600 answers", async (t) => {
	const { address, client } = await served(t, [versionService({ version: "1", revision: "r" })]);
	assert.equal((await stat(address)).mode & 0o777, 0o600);
	assert.deepEqual(await client.service(VersionDefinition).version({}), { version: "1", revision: "r" });
});

test("an error keeps its class and says what happened to what", async (t) => {
	const { client } = await served(t, [failing(new Error("boom"))]);
	const leases = client.service(LeasesDefinition);
	await assert.rejects(
		leases.addResource({ id: "x", resource: undefined }),
		code("NotFound", /lease "x" in namespace "a": not found/),
	);
	await assert.rejects(leases.create({ id: "", labels: {} }), code("Unknown", /boom/));
});

test("a method that is not built and a service nobody registered are Unimplemented", async (t) => {
	const { client } = await served(t, [
		failing(new Error("x")),
		serviceNotThereYet(StreamingDefinition, "no streams in this test"),
	]);
	await assert.rejects(
		client.service(LeasesDefinition).delete({ id: "x", sync: false }),
		code("Unimplemented", /never deleted/),
	);
	await assert.rejects(client.service(VersionDefinition).version({}), code("Unimplemented"));
	const answers = client.service(StreamingDefinition).stream(
		(async function* () {
			yield { typeUrl: "a", value: new Uint8Array() };
		})(),
	);
	await assert.rejects(answers[Symbol.asyncIterator]().next(), code("Unimplemented", /no streams/));
});

test("the namespace comes from the header: missing is FailedPrecondition, malformed InvalidArgument", async (t) => {
	const { client } = await served(t, [failing(new Error("x"))]);
	const leases = client.service(LeasesDefinition);
	const { leases: found } = await leases.list({ filters: [] }, { namespace: "k8s.io" });
	assert.equal(found[0]?.id, "k8s.io");
	await assert.rejects(leases.list({ filters: [] }), code("FailedPrecondition", /namespace is required/));
	await assert.rejects(leases.list({ filters: [] }, { namespace: "a..b" }), code("InvalidArgument"));
	const { leases: byTtrpcHeader } = await leases.list(
		{ filters: [] },
		{ headers: { "containerd-namespace-ttrpc": "b" } },
	);
	assert.equal(byTtrpcHeader[0]?.id, "b");
});

test("a deadline that passes is DeadlineExceeded, and the handler hears of it", async (t) => {
	const { client } = await served(t, [failing(new Error("x"))]);
	await assert.rejects(
		client.service(LeasesDefinition).listResources({ id: "x" }, { timeoutMs: 50 }),
		code("DeadlineExceeded"),
	);
});

test("a caller that gives up aborts the handler's signal", async (t) => {
	const heard = Promise.withResolvers<unknown>();
	const started = Promise.withResolvers<void>();
	const { client } = await served(t, [
		service(VersionDefinition, {
			version: (_request, { signal }) => {
				started.resolve();
				return new Promise((_resolve, reject) =>
					signal.addEventListener("abort", () => {
						heard.resolve(signal.reason);
						reject(signal.reason);
					}),
				);
			},
		}),
	]);
	const abort = new AbortController();
	const call = client.service(VersionDefinition).version({}, { signal: abort.signal });
	await started.promise;
	abort.abort();
	await assert.rejects(call, code("Canceled"));
	assert.ok(code("Canceled")(await heard.promise));
});

test("both directions stream, and the stream ends when the handler does", async (t) => {
	const { client } = await served(t, [
		service(StreamingDefinition, {
			async *stream(requests) {
				for await (const { typeUrl, value } of requests) {
					yield { typeUrl: `${typeUrl}!`, value };
					if (typeUrl === "last") return;
				}
			},
		}),
	]);
	const megabyte = new Uint8Array(1 << 20).fill(7);
	const never = Promise.withResolvers<void>();
	const answers = client.service(StreamingDefinition).stream(
		(async function* () {
			yield { typeUrl: "first", value: megabyte };
			yield { typeUrl: "last", value: megabyte };
			await never.promise;
		})(),
	);
	const seen: string[] = [];
	for await (const { typeUrl, value } of answers) {
		assert.equal(value.length, megabyte.length);
		seen.push(typeUrl);
	}
	never.resolve();
	assert.deepEqual(seen, ["first!", "last!"]);
});

test("a stream whose reader goes away ends the handler", async (t) => {
	const ended = Promise.withResolvers<void>();
	const { client } = await served(t, [
		service(HealthDefinition, {
			check: notThereYet("only watched here"),
			async *watch(_request, { signal }) {
				try {
					yield { status: 1 as const };
					await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
				} finally {
					ended.resolve();
				}
			},
		}),
	]);
	for await (const { status } of client.service(HealthDefinition).watch({ service: "" })) {
		assert.equal(status, 1);
		break;
	}
	await ended.promise;
});

test("health is watched: one answer now, also for a name nobody serves", async (t) => {
	const { client } = await served(t, [healthService(() => ["a.B"])]);
	for (const [service, expected] of [
		["a.B", 1],
		["c.D", 3],
	] as const)
		for await (const { status } of client.service(HealthDefinition).watch({ service })) {
			assert.equal(status, expected);
			break;
		}
});

test("health knows the services by full name", async (t) => {
	const { client } = await served(t, [healthService(() => ["containerd.services.version.v1.Version"])]);
	const health = client.service(HealthDefinition);
	assert.deepEqual(await health.check({ service: "containerd.services.version.v1.Version" }), { status: 1 });
	assert.deepEqual(await health.check({ service: "" }), { status: 1 });
	await assert.rejects(health.check({ service: "nope" }), code("NotFound"));
});

test("a second daemon on the socket is refused, the first lives on", async (t) => {
	const { address, client } = await served(t, [versionService({ version: "1", revision: "" })]);
	await assert.rejects(
		serveGrpc({ address, services: [], log: silentLog }),
		code("FailedPrecondition", /another daemon/),
	);
	assert.equal((await client.service(VersionDefinition).version({})).version, "1");
});

test("a stale socket is replaced; what is no socket is left alone", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-grpc-"));
	t.after(() => rm(folder, { recursive: true }));
	const address = join(folder, "t.sock");
	const { spawnSync } = await import("node:child_process");
	const script = `require("net").createServer().listen(${JSON.stringify(address)}, () => process.kill(process.pid, "SIGKILL"))`;
	assert.equal(spawnSync(process.execPath, ["-e", script]).signal, "SIGKILL");
	assert.ok((await stat(address)).isSocket());
	const server = await serveGrpc({ address, services: [], log: silentLog });
	await server.stop(100);
	await assert.rejects(stat(address), { code: "ENOENT" });
	await writeFile(address, "precious");
	await assert.rejects(serveGrpc({ address, services: [], log: silentLog }), code("FailedPrecondition", /no socket/));
	assert.ok((await stat(address)).isFile());
});

test("a path that no socket can have is InvalidArgument", async () => {
	const long = `/${"x".repeat(104)}`;
	await assert.rejects(serveGrpc({ address: long, services: [], log: silentLog }), code("InvalidArgument", /104/));
	await assert.rejects(
		serveGrpc({ address: "relative.sock", services: [], log: silentLog }),
		code("InvalidArgument", /absolute/),
	);
});

test("a call under way ends before the server has stopped", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-grpc-"));
	t.after(() => rm(folder, { recursive: true }));
	const address = join(folder, "t.sock");
	const started = Promise.withResolvers<void>();
	const release = Promise.withResolvers<void>();
	const server = await serveGrpc({
		address,
		log: silentLog,
		services: [
			service(VersionDefinition, {
				version: async () => {
					started.resolve();
					await release.promise;
					return { version: "late", revision: "" };
				},
			}),
		],
	});
	using client = connectGrpc(address);
	const answer = client.service(VersionDefinition).version({});
	await started.promise;
	const stopped = server.stop(5000);
	release.resolve();
	assert.equal((await answer).version, "late");
	await stopped;
});

test("a stream ends at once when the server stops, and says why", async (t) => {
	const { client, server } = await served(t, [healthService(() => [])]);
	const answers = client.service(HealthDefinition).watch({ service: "" })[Symbol.asyncIterator]();
	await answers.next();
	const next = answers.next();
	const stopped = server.stop(10_000);
	await assert.rejects(next, code("Unavailable", /the daemon stops/));
	await stopped;
});
