import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../../errors/daemon-error.ts";
import { directoryNames, loadHostDirectory } from "./host-directory.ts";
import { parseHostsFile } from "./hosts-file.ts";
import { registryHosts } from "./registry-hosts.ts";

const endpoints = (text: string): readonly string[] =>
	parseHostsFile(text, "/c").map(({ endpoint }) =>
		endpoint === undefined ? "itself" : `${endpoint.scheme}://${endpoint.host}${endpoint.path}`,
	);

describe("hosts.toml", () => {
	test("hosts in the order of the file, the server last", () => {
		const text = `
			server = "https://registry-1.docker.io"
			[host."https://z.example"]
			[host."http://a.example:5000"]
			  capabilities = ["pull"]
			[host."b.example"]
			  [host."b.example".header]
			    x-a = "1"`;
		assert.deepEqual(endpoints(text), [
			"https://z.example/v2",
			"http://a.example:5000/v2",
			"https://b.example/v2",
			"https://registry-1.docker.io/v2",
		]);
	});

	const paths = [
		["https://a", "", "/v2"],
		["https://a/", "", "/v2"],
		["https://a/v2", "", "/v2"],
		["https://a/v2/", "", "/v2"],
		["https://a/mirror/x", "", "/mirror/x/v2"],
		["https://a/mirror/./y/../x", "", "/mirror/x/v2"],
		["https://a/mirror", "override_path = true", "/mirror"],
		["https://a", "override_path = true", ""],
	] as const;
	for (const [server, more, path] of paths)
		test(`${server} ${more}: the API is at ${path === "" ? "the root" : path}`, () =>
			assert.equal(endpoints(`[host."${server}"]\n${more}`)[0], `https://a${path}`));

	test("without a server the registry itself comes last", () => {
		assert.deepEqual(endpoints(""), ["itself"]);
		assert.deepEqual(endpoints('[host."https://m"]'), ["https://m/v2", "itself"]);
	});

	test("all settings of a host", () => {
		const [entry] = parseHostsFile(
			`[host."https://m"]
			 capabilities = ["Pull", "resolve"]
			 ca = ["ca.pem", "/abs/ca.pem"]
			 client = [["c.cert", "c.key"], "both.pem"]
			 skip_verify = true
			 dial_timeout = "1m2.5s"
			 [host."https://m".header]
			   one = "1"
			   many = ["2", "3"]`,
			"/c",
		);
		assert.deepEqual(entry, {
			endpoint: { scheme: "https", host: "m", path: "/v2" },
			capabilities: new Set(["pull", "resolve"]),
			tls: { ca: ["/c/ca.pem", "/abs/ca.pem"], client: [["/c/c.cert", "/c/c.key"], ["/c/both.pem"]], skipVerify: true },
			header: { one: ["1"], many: ["2", "3"] },
			dialTimeoutMs: 62_500,
		});
	});

	const bad = [
		"server = 1",
		"host = 1",
		'[host."https://m"]\ncapabilities = ["fly"]',
		'[host."https://m"]\nca = 1',
		'[host."https://m"]\nclient = [["a"]]',
		'[host."https://m"]\nclient = [["a","b","c"]]',
		'[host."https://m"]\nheader = ["x"]',
		'[host."https://m"]\ndial_timeout = "soon"',
		'[host."https://m"]\nskip_verify = "yes"',
		'[host."https://user@m/x"]',
		"not toml",
	];
	for (const text of bad)
		test(`${JSON.stringify(text)} is refused, naming the file`, () => {
			assert.throws(
				() => parseHostsFile(text, "/c"),
				(error: unknown) =>
					error instanceof DaemonError && error.code === "InvalidArgument" && /\/c\/hosts\.toml/.test(error.message),
			);
		});

	test("any list of hosts keeps its order", () => {
		const host = fc.stringMatching(/^[a-z][a-z0-9]{0,10}\.example$/);
		fc.assert(
			fc.property(fc.uniqueArray(host, { maxLength: 8 }), (hosts) => {
				const text = hosts.map((name) => `[host."https://${name}"]\nskip_verify = false`).join("\n");
				assert.deepEqual(endpoints(text), [...hosts.map((name) => `https://${name}/v2`), "itself"]);
			}),
		);
	});

	test("any text parses or is InvalidArgument", () => {
		fc.assert(
			fc.property(fc.string(), (text) => {
				try {
					parseHostsFile(text, "/c");
				} catch (error) {
					assert.ok(error instanceof DaemonError && error.code === "InvalidArgument", String(error));
				}
			}),
		);
	});
});

describe("host directories", () => {
	const tree = async (t: { after(fn: () => Promise<void>): void }, files: Readonly<Record<string, string>>) => {
		const root = await mkdtemp(join(tmpdir(), "troupe-hosts-"));
		t.after(() => rm(root, { recursive: true }));
		for (const [path, text] of Object.entries(files)) {
			await mkdir(join(root, path, ".."), { recursive: true });
			await writeFile(join(root, path), text);
		}
		return root;
	};

	test("a port is looked for underscored, then with its colon, then the default", () => {
		assert.deepEqual(directoryNames("a.b:5000"), ["a.b_5000_", "a.b:5000", "_default"]);
		assert.deepEqual(directoryNames("docker.io"), ["docker.io", "_default"]);
	});

	test("the first directory that is there counts, in the first root that has one", async (t) => {
		const root = await tree(t, {
			"one/_default/hosts.toml": '[host."https://fallback"]',
			"two/a.b:5000/hosts.toml": '[host."https://never"]',
			"one/c.d_5000_/hosts.toml": '[host."https://mine"]',
		});
		const roots = [join(root, "none"), join(root, "one"), join(root, "two")];
		const first = async (registry: string) => (await loadHostDirectory(roots, registry))?.entries[0]?.endpoint?.host;
		assert.equal(await first("c.d:5000"), "mine");
		assert.equal(await first("a.b:5000"), "fallback");
		assert.equal(await loadHostDirectory([join(root, "none")], "a.b"), undefined);
	});

	test("Docker's certificate files count where there is no hosts.toml, or a broken one", async (t) => {
		const files = { "ca.crt": "", "client.cert": "", "client.key": "", "both.cert": "", "readme.txt": "" };
		const root = await tree(
			t,
			Object.fromEntries([
				...Object.keys(files).flatMap(
					(name) =>
						[
							[`a.b/${name}`, ""],
							[`c.d/${name}`, ""],
						] as [string, string][],
				),
				["c.d/hosts.toml", 'server = "'],
			]),
		);
		for (const registry of ["a.b", "c.d"]) {
			const found = await loadHostDirectory([root], registry);
			const path = join(root, registry);
			assert.deepEqual(found?.entries[0]?.tls, {
				ca: [join(path, "ca.crt")],
				client: [[join(path, "both.cert")], [join(path, "client.cert"), join(path, "client.key")]],
			});
			assert.equal(found?.problem === undefined, registry === "a.b");
			assert.equal(registryHosts(registry, found)[0]?.host, registry);
		}
	});
});

describe("hosts without configuration", () => {
	const cases = [
		["docker.io", {}, "https://registry-1.docker.io", false],
		["quay.io", {}, "https://quay.io", false],
		["quay.io", { plainHttp: true }, "http://quay.io", false],
		["localhost:5000", {}, "https://localhost:5000", true],
		["localhost:5000", { plainHttp: true }, "http://localhost:5000", false],
		["127.0.0.1:80", {}, "http://127.0.0.1:80", false],
		["localhost", {}, "https://localhost", false],
		["[::1]:5000", {}, "https://[::1]:5000", true],
		["localhost.example:5000", {}, "https://localhost.example:5000", false],
	] as const;
	for (const [registry, options, url, httpFallback] of cases)
		test(`${registry} ${JSON.stringify(options)} is ${url}${httpFallback ? " or plain HTTP" : ""}`, () => {
			const [host] = registryHosts(registry, undefined, options);
			assert.deepEqual([`${host?.scheme}://${host?.host}`, host?.httpFallback], [url, httpFallback]);
		});

	test("a plain endpoint with TLS settings prefers TLS", () => {
		const entries = parseHostsFile('[host."http://m:5000"]\nskip_verify = true\n[host."http://n:5000"]', "/c");
		const hosts = registryHosts("a.b", { path: "/c", entries });
		assert.deepEqual(
			hosts.map(({ scheme, httpFallback }) => [scheme, httpFallback]),
			[
				["https", true],
				["http", false],
				["https", false],
			],
		);
	});
});
