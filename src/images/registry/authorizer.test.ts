import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rejectsWith } from "../../content/content-store.test-suite.ts";
import { mediaTypes } from "../media-types.ts";
import { normalizeReference } from "../reference.ts";
import { RegistryClient } from "../registry-client.ts";
import { ImpatientClock, ScriptedRegistry } from "../scripted-registry.test-fixture.ts";
import { parseChallenges } from "./challenge.ts";
import type { Credentials } from "./credentials.ts";
import { allCapabilities, noTlsFiles } from "./registry-host.ts";

const never = new AbortController().signal;
const secret = { username: "jane", secret: "pass:word" };
const basicSecret = `Basic ${Buffer.from("jane:pass:word").toString("base64")}`;

interface Rules {
	/** Status that a POST for a token gets. */
	readonly post?: number;
	readonly get?: number;
	/** Whether the token server sees the right secret. */
	readonly accepts?: (authorization: string | undefined, body: URLSearchParams) => boolean;
	readonly expiresIn?: number;
	readonly takesNoToken?: boolean;
}

/** A registry that wants a bearer token for everything, from a token server at `/token` of the same host. */
async function guarded(t: { after(fn: () => Promise<void>): void }, rules: Rules = {}, credentials?: Credentials) {
	const registry = await ScriptedRegistry.start();
	t.after(() => registry.stop());
	const stored = registry.manifest("lib/app", "1", { schemaVersion: 2 }, mediaTypes.ociManifest);
	const blob = registry.blob(Buffer.from("layer"));
	const valid = new Set<string>();
	registry.fault(
		({ method, path, headers, body }, response) => {
			if (path === "/token") {
				const status = method === "POST" ? (rules.post ?? 200) : (rules.get ?? 200);
				const allowed = rules.accepts?.(headers.authorization, new URLSearchParams(body)) ?? true;
				if (status !== 200 || !allowed) return Boolean(response.writeHead(status === 200 ? 401 : status).end());
				const token = `token-${valid.size + 1}`;
				valid.add(token);
				const expires_in = rules.expiresIn ?? 300;
				return Boolean(
					response.end(JSON.stringify(method === "POST" ? { access_token: token, expires_in } : { token, expires_in })),
				);
			}
			if (rules.takesNoToken !== true && valid.has((headers.authorization ?? "").replace("Bearer ", ""))) return false;
			const realm = `http://${registry.host}/token`;
			const challenge = `Bearer realm="${realm}",service="the registry",scope="repository:lib/app:pull"`;
			return Boolean(response.writeHead(401, { "www-authenticate": challenge }).end());
		},
		{ always: true },
	);
	let now = 1_000_000;
	const clock = Object.assign(new ImpatientClock(), { now: () => now });
	const client = new RegistryClient({
		reference: normalizeReference(`${registry.host}/lib/app:1`),
		hosts: [
			{
				scheme: "http",
				host: registry.host,
				path: "/v2",
				capabilities: allCapabilities,
				tls: noTlsFiles,
				header: {},
				httpFallback: false,
			},
		],
		credentials: async (host) => (host === registry.host ? credentials : undefined),
		clock,
		random: () => 0.5,
		stallMs: clock.stallMs,
	});
	t.after(() => client.close());
	const pass = (ms: number): void => {
		now += ms;
	};
	return { registry, client, stored, blob, valid, pass };
}

describe("bearer authorization", () => {
	test("without a secret an anonymous token is fetched by GET, with service and scope", async (t) => {
		const { registry, client, stored } = await guarded(t);
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
		const [request] = registry.seen(/token/);
		assert.equal(request?.method, "GET");
		assert.deepEqual(
			[...(request?.query ?? [])],
			[
				["service", "the registry"],
				["scope", "repository:lib/app:pull"],
			],
		);
		assert.equal(request?.headers.authorization, undefined);
	});

	test("a token serves all requests of its scope, also those made at once", async (t) => {
		const { registry, client, blob } = await guarded(t);
		await client.resolve(never);
		const bodies = await Promise.all([1, 2, 3].map(() => client.open(blob, 0, never)));
		for (const { body } of bodies) await body.toArray();
		assert.equal(registry.seen(/token/).length, 1);
	});

	test("with a secret the token is fetched by POST", async (t) => {
		const accepts = (_: unknown, form: URLSearchParams): boolean =>
			form.get("grant_type") === "password" && form.get("username") === "jane" && form.get("password") === "pass:word";
		const { registry, client } = await guarded(t, { accepts }, secret);
		await client.resolve(never);
		assert.deepEqual(
			registry.seen(/token/).map(({ method }) => method),
			["POST"],
		);
	});

	test("a secret without a username is an identity token", async (t) => {
		const accepts = (_: unknown, form: URLSearchParams): boolean =>
			form.get("grant_type") === "refresh_token" && form.get("refresh_token") === "identity";
		const { client, stored } = await guarded(t, { accepts }, { username: "", secret: "identity" });
		assert.deepEqual((await client.resolve(never)).descriptor, stored);
	});

	for (const post of [400, 401, 404, 405])
		test(`a token server that answers POST with ${post} is asked with GET and basic authorization`, async (t) => {
			const accepts = (authorization: string | undefined): boolean => authorization === basicSecret;
			const { client, stored } = await guarded(t, { post, accepts }, secret);
			assert.deepEqual((await client.resolve(never)).descriptor, stored);
		});

	test("an expired token is fetched anew before it is used", async (t) => {
		const { registry, client, pass } = await guarded(t, { expiresIn: 100 });
		await client.resolve(never);
		pass(89_000);
		await client.resolve(never);
		assert.equal(registry.seen(/token/).length, 1);
		pass(2_000);
		await client.resolve(never);
		assert.equal(registry.seen(/token/).length, 2);
	});

	test("a token that the registry no longer takes is fetched anew", async (t) => {
		const { registry, client, valid } = await guarded(t);
		await client.resolve(never);
		valid.clear();
		valid.add("another");
		await client.resolve(never);
		assert.equal(registry.seen(/token/).length, 2);
	});

	test("no token for nobody is Unauthenticated, for a wrong secret PermissionDenied", async (t) => {
		await rejectsWith("Unauthenticated", (await guarded(t, { get: 401 })).client.resolve(never));
		await rejectsWith("PermissionDenied", (await guarded(t, { accepts: () => false }, secret)).client.resolve(never));
		await rejectsWith("PermissionDenied", (await guarded(t, { get: 403 })).client.resolve(never));
	});

	test("a registry that refuses the token it asked for is asked once more, not for ever", async (t) => {
		const { registry, client } = await guarded(t, { takesNoToken: true });
		await rejectsWith("Unauthenticated", client.resolve(never));
		assert.deepEqual([registry.seen(/manifests/).length, registry.seen(/token/).length], [2, 1]);
	});
});

describe("basic authorization", () => {
	async function basicGuarded(t: { after(fn: () => Promise<void>): void }, credentials?: Credentials) {
		const registry = await ScriptedRegistry.start();
		t.after(() => registry.stop());
		registry.manifest("lib/app", "1", { schemaVersion: 2 }, mediaTypes.ociManifest);
		registry.fault(
			({ headers }, response) =>
				headers.authorization !== basicSecret &&
				Boolean(response.writeHead(401, { "www-authenticate": 'Basic realm="r"' }).end()),
			{ always: true },
		);
		const clock = new ImpatientClock();
		const host = {
			scheme: "http",
			host: registry.host,
			path: "/v2",
			capabilities: allCapabilities,
			tls: noTlsFiles,
			header: {},
			httpFallback: false,
		} as const;
		const client = new RegistryClient({
			reference: normalizeReference(`${registry.host}/lib/app:1`),
			hosts: [host],
			credentials: async () => credentials,
			clock,
			random: () => 0.5,
			stallMs: clock.stallMs,
		});
		t.after(() => client.close());
		return { registry, client };
	}

	test("the secret is shown after the host asked, not before", async (t) => {
		const { registry, client } = await basicGuarded(t, secret);
		await client.resolve(never);
		assert.deepEqual(
			registry.requests.map(({ headers }) => headers.authorization),
			[undefined, basicSecret],
		);
	});

	test("a wrong secret is shown once, and is PermissionDenied", async (t) => {
		const { registry, client } = await basicGuarded(t, { ...secret, secret: "wrong" });
		await rejectsWith("PermissionDenied", client.resolve(never));
		assert.equal(registry.requests.length, 2);
	});

	test("no secret is Unauthenticated", async (t) => {
		await rejectsWith("Unauthenticated", (await basicGuarded(t)).client.resolve(never));
	});
});

describe("challenges", () => {
	const bearer = (parameters: Record<string, string>) => ({ scheme: "bearer", parameters });
	const cases: readonly (readonly [name: string, headers: readonly string[], parsed: unknown])[] = [
		[
			"quoted and plain values",
			['Bearer realm="https://a/b?c=d,e", service=x'],
			[bearer({ realm: "https://a/b?c=d,e", service: "x" })],
		],
		["escaped quotes", ['bearer realm="a\\"b"'], [bearer({ realm: 'a"b' })]],
		[
			"several in one header, bearer first",
			['Basic realm="b", Bearer realm="r"'],
			[bearer({ realm: "r" }), { scheme: "basic", parameters: { realm: "b" } }],
		],
		["several headers", ["Negotiate", "Basic"], [{ scheme: "basic", parameters: {} }]],
		["nonsense", [", ,=", "", "Digest x=y"], []],
	];
	for (const [name, headers, parsed] of cases)
		test(`${name}`, () => assert.deepEqual(parseChallenges(headers), parsed));
});
