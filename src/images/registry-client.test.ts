import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { rejectsWith } from "../content/content-store.test-suite.ts";
import type { Descriptor } from "../content/descriptor.ts";
import { mediaTypes } from "./media-types.ts";
import { normalizeReference } from "./reference.ts";
import type { Credentials } from "./registry/credentials.ts";
import { allCapabilities, noTlsFiles, type RegistryHost } from "./registry/registry-host.ts";
import { registryHosts } from "./registry/registry-hosts.ts";
import { RegistryClient } from "./registry-client.ts";
import { ImpatientClock, ScriptedRegistry, type SeenRequest } from "./scripted-registry.test-fixture.ts";

interface Context {
	after(fn: () => Promise<void> | void): void;
}

const never = new AbortController().signal;
const plainHost = (host: string, more: Partial<RegistryHost> = {}): RegistryHost => ({
	scheme: "http",
	host,
	path: "/v2",
	capabilities: allCapabilities,
	tls: noTlsFiles,
	header: {},
	httpFallback: false,
	...more,
});

async function started(t: Context): Promise<ScriptedRegistry> {
	const registry = await ScriptedRegistry.start();
	t.after(() => registry.stop());
	return registry;
}

function clientOf(
	t: Context,
	hosts: readonly RegistryHost[],
	{
		name = `${hosts[0]?.host ?? "localhost"}/lib/app:1`,
		secrets = {},
	}: { name?: string; secrets?: Record<string, Credentials> } = {},
) {
	const clock = new ImpatientClock();
	const client = new RegistryClient({
		reference: normalizeReference(name),
		hosts,
		credentials: async (host) => secrets[host],
		clock,
		random: () => 0.5,
		stallMs: clock.stallMs,
	});
	t.after(() => client.close());
	return { client, clock };
}

const manifestValue = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: {}, layers: [] };
const read = async (
	client: RegistryClient,
	descriptor: Descriptor,
	offset = 0,
): Promise<[start: number, bytes: Buffer]> => {
	const { body, start } = await client.open(descriptor, offset, never);
	return [start, Buffer.concat(await body.toArray())];
};

describe("resolving a reference", () => {
	test("one HEAD tells digest, size and type", async (t) => {
		const registry = await started(t);
		const stored = registry.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		const { client } = clientOf(t, [plainHost(registry.host)]);
		assert.deepEqual(await client.resolve(never), { descriptor: stored });
		assert.equal(registry.requests.length, 1);
		assert.match(registry.requests[0]?.headers.accept ?? "", /manifest\.list\.v2\+json.*oci\.image\.index/);
		assert.equal(registry.requests[0]?.query.get("ns"), null);
	});

	test("a registry that names no digest is read and hashed", async (t) => {
		const registry = await started(t);
		const stored = registry.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		const bytes = Buffer.from(JSON.stringify(manifestValue));
		registry.fault(
			({ method }, response) => {
				response.writeHead(200, { "content-type": "application/json" }).end(method === "HEAD" ? undefined : bytes);
				return true;
			},
			{ always: true },
		);
		const { client } = clientOf(t, [plainHost(registry.host)]);
		const resolved = await client.resolve(never);
		assert.deepEqual(resolved.descriptor, stored);
		assert.ok(bytes.equals(resolved.content ?? Buffer.alloc(0)));
	});

	test("a registry without HEAD for manifests is asked with GET", async (t) => {
		const registry = await started(t);
		const stored = registry.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		registry.fault(({ method }, response) => method === "HEAD" && Boolean(response.writeHead(405).end()), {
			always: true,
		});
		const { client } = clientOf(t, [plainHost(registry.host)]);
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
	});

	test("a digest is looked for among the blobs when it is no manifest", async (t) => {
		const registry = await started(t);
		const blob = registry.blob(Buffer.from("an artifact"));
		const { client } = clientOf(t, [plainHost(registry.host)], { name: `${registry.host}/lib/app@${blob.digest}` });
		const { descriptor } = await client.resolve(never);
		assert.deepEqual([descriptor.digest, descriptor.size], [blob.digest, blob.size]);
	});

	test("a manifest above the limit is refused", async (t) => {
		const registry = await started(t);
		registry.manifest("lib/app", "1", Buffer.alloc(4 * 1048 * 1048 + 1, 32), mediaTypes.ociManifest);
		const { client } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("ResourceExhausted", client.resolve(never));
	});

	test("an unknown image is NotFound", async (t) => {
		const registry = await started(t);
		const { client } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("NotFound", client.resolve(never));
	});

	test("a registry that is down is Unavailable, at once", async (t) => {
		const server = createServer().listen(0, "127.0.0.1");
		await once(server, "listening");
		const { port } = server.address() as { port: number };
		server.close();
		await once(server, "close");
		const { client, clock } = clientOf(t, [plainHost(`127.0.0.1:${port}`)]);
		await rejectsWith("Unavailable", client.resolve(never));
		assert.deepEqual(clock.waits, []);
	});

	test("a cancelled request is Canceled", async (t) => {
		const registry = await started(t);
		const abort = new AbortController();
		registry.fault(() => {
			abort.abort();
			return true;
		});
		const { client } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("Canceled", client.resolve(abort.signal));
	});

	test("loopback without configuration: TLS is tried, plain HTTP serves", async (t) => {
		const registry = await started(t);
		const stored = registry.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		const { client } = clientOf(t, registryHosts(registry.host));
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
	});
});

describe("hosts of a registry", () => {
	test("the first mirror is dead, the second knows nothing, the registry serves; mirrors hear who is meant", async (t) => {
		const [mirror, origin] = [await started(t), await started(t)];
		const stored = origin.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		const { client } = clientOf(
			t,
			[plainHost("127.0.0.1:1"), plainHost(mirror.host, { path: "/proxy/v2" }), plainHost(origin.host)],
			{ name: `${origin.host}/lib/app:1` },
		);
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
		assert.equal(mirror.requests[0]?.path, "/proxy/v2/lib/app/manifests/1");
		assert.equal(mirror.requests[0]?.query.get("ns"), origin.host);
		assert.equal(origin.requests[0]?.query.get("ns"), null);
	});

	test("a host that may not resolve is not asked what a tag means, but serves content", async (t) => {
		const [mirror, origin] = [await started(t), await started(t)];
		origin.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		const blob = mirror.blob(Buffer.from("layer"));
		const { client } = clientOf(
			t,
			[plainHost(mirror.host, { capabilities: new Set(["pull"]) }), plainHost(origin.host)],
			{
				name: `${origin.host}/lib/app:1`,
			},
		);
		await client.resolve(never);
		assert.equal(mirror.requests.length, 0);
		assert.equal((await read(client, blob))[1].toString(), "layer");
		assert.equal(origin.seen(/blobs/).length, 0);
	});

	test("a host's headers go to it and to nobody else", async (t) => {
		const [origin, storage] = [await started(t), await started(t)];
		const blob = storage.blob(Buffer.from("layer"));
		origin.fault(({ path }, response) => {
			response.writeHead(307, { location: `http://${storage.host}${path}?signed=1` }).end();
			return true;
		});
		const { client } = clientOf(t, [
			plainHost(origin.host, { header: { "X-Api-Key": ["k"], authorization: ["Basic c2VjcmV0"] } }),
		]);
		assert.equal((await read(client, blob))[1].toString(), "layer");
		assert.equal(origin.requests[0]?.headers["x-api-key"], "k");
		assert.equal(storage.requests[0]?.query.get("signed"), "1");
		assert.equal(storage.requests[0]?.headers["x-api-key"], undefined);
		assert.equal(storage.requests[0]?.headers.authorization, undefined);
	});

	test("a circle of redirects is left", async (t) => {
		const registry = await started(t);
		registry.fault(({ path }, response) => Boolean(response.writeHead(302, { location: path }).end()), {
			always: true,
		});
		const { client } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("Unavailable", client.resolve(never));
		assert.equal(registry.requests.length, 11);
	});

	test("a foreign layer comes from its own address first", async (t) => {
		const [origin, elsewhere] = [await started(t), await started(t)];
		const blob = elsewhere.blob(Buffer.from("layer"));
		const urls = ["ftp://x/y", `http://${elsewhere.host}/v2/any/blobs/${blob.digest}`];
		const { client } = clientOf(t, [plainHost(origin.host)]);
		assert.equal((await read(client, { ...blob, urls }))[1].toString(), "layer");
		assert.equal(origin.requests.length, 0);
	});
});

describe("a registry in trouble", () => {
	const answer =
		(status: number, headers: Record<string, string> = {}) =>
		(_: SeenRequest, response: import("node:http").ServerResponse): boolean =>
			Boolean(response.writeHead(status, headers).end());

	test("too many requests: waits as long as it is told, then goes on", async (t) => {
		const registry = await started(t);
		const blob = registry.blob(Buffer.from("layer"));
		registry.fault(answer(429, { "retry-after": "7" }));
		registry.fault(answer(429));
		const { client, clock } = clientOf(t, [plainHost(registry.host)]);
		assert.equal((await read(client, blob))[1].toString(), "layer");
		assert.deepEqual(clock.waits, [7000, 750]);
	});

	test("too many requests, again and again: Unavailable after six", async (t) => {
		const registry = await started(t);
		registry.fault(answer(429), { always: true });
		const { client, clock } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("Unavailable", client.resolve(never));
		assert.equal(registry.requests.length, 6);
		assert.equal(clock.waits.length, 5);
	});

	test("who asks for an hour of patience is given up", async (t) => {
		const registry = await started(t);
		registry.fault(answer(429, { "retry-after": "3600" }), { always: true });
		const { client, clock } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("Unavailable", client.resolve(never));
		assert.deepEqual(clock.waits, []);
	});

	test("a server error is repeated once on the last host, not on one before it", async (t) => {
		const [first, last] = [await started(t), await started(t)];
		const stored = last.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		first.fault(answer(503), { always: true });
		last.fault(answer(500));
		const { client } = clientOf(t, [plainHost(first.host), plainHost(last.host)]);
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
		assert.deepEqual([first.requests.length, last.requests.length], [1, 2]);
		last.fault(answer(500), { always: true });
		await rejectsWith("Unavailable", client.resolve(never));
		assert.equal(last.requests.length, 4);
	});

	test("a connection that is cut is made again", async (t) => {
		const registry = await started(t);
		const stored = registry.manifest("lib/app", "1", manifestValue, mediaTypes.ociManifest);
		registry.fault((_, response) => Boolean(response.socket?.destroy()));
		const { client } = clientOf(t, [plainHost(registry.host)]);
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
	});

	test("a refusal says what the registry said", async (t) => {
		const registry = await started(t);
		const blob = registry.blob(Buffer.from("layer"));
		registry.fault((_, response) => {
			response.writeHead(403).end('{"errors":[{"code":"DENIED","message":"not for\\u001b[31m you"}]}');
			return true;
		});
		const { client } = clientOf(t, [plainHost(registry.host)]);
		await assert.rejects(client.open(blob, 0, never), /pull access denied \(403 from .*: DENIED: not for \[31m you\)/);
	});
});

describe("ranges", () => {
	test("a blob is opened where it was left", async (t) => {
		const registry = await started(t);
		const blob = registry.blob(Buffer.from("0123456789"));
		const { client } = clientOf(t, [plainHost(registry.host)]);
		assert.deepEqual(await read(client, blob, 4), [4, Buffer.from("456789")]);
	});

	test("a server that ignores ranges sends from the start, and says so", async (t) => {
		const registry = await started(t);
		registry.ignoresRange = true;
		const blob = registry.blob(Buffer.from("0123456789"));
		const { client } = clientOf(t, [plainHost(registry.host)]);
		assert.deepEqual(await read(client, blob, 4), [0, Buffer.from("0123456789")]);
	});

	test("a server that refuses the range is asked for the whole", async (t) => {
		const registry = await started(t);
		const blob = registry.blob(Buffer.from("0123456789"));
		registry.fault((_, response) => Boolean(response.writeHead(416).end()));
		const { client } = clientOf(t, [plainHost(registry.host)]);
		assert.deepEqual(await read(client, blob, 4), [0, Buffer.from("0123456789")]);
	});

	test("another range than asked for is DataLoss", async (t) => {
		const registry = await started(t);
		const blob = registry.blob(Buffer.from("0123456789"));
		registry.fault((_, response) => {
			response.writeHead(206, { "content-range": "bytes 5-9/10", "content-length": 5 }).end("56789");
			return true;
		});
		const { client } = clientOf(t, [plainHost(registry.host)]);
		await rejectsWith("DataLoss", client.open(blob, 4, never));
	});
});
