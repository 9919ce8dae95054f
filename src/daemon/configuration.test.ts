import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import * as z from "zod";
import { DaemonError } from "../errors/daemon-error.ts";
import { plugin } from "../plugin/plugin.ts";
import { pluginKey } from "../plugin/plugin-key.ts";
import type { ConfigurationFlags } from "./arguments.ts";
import { defaultConfiguration, loadAddress, loadConfiguration, writeConfiguration } from "./configuration.ts";
import { daemonPlugins } from "./plugins/daemon-plugins.ts";

const start = () => true as const;
const one = plugin({
	key: pluginKey<true>("io.troupe.test.v1.one"),
	config: z.strictObject({ size: z.int().positive().default(3), nested: z.strictObject({ a: z.int() }).optional() }),
	start,
});
const two = plugin({ key: pluginKey<true>("io.troupe.test.v1.two"), start });
const off = plugin({ key: pluginKey<true>("io.troupe.test.v1.off"), start, disabled: true });
const stream = plugin({
	key: pluginKey<true>("io.troupe.live.v1.stream"),
	config: z.strictObject({ address: z.string().default("127.0.0.1:7010") }),
	start,
});
const plugins = [one, two, off, stream];

let root = "";
let count = 0;
before(async () => {
	root = await mkdtemp(join(tmpdir(), "troupe-config-"));
});
after(() => rm(root, { recursive: true }));

/** A new directory with these files. */
async function folderWith(files: Readonly<Record<string, string>>): Promise<string> {
	const folder = join(root, String(count++));
	for (const [name, text] of Object.entries(files)) {
		await mkdir(dirname(join(folder, name)), { recursive: true });
		await writeFile(join(folder, name), text);
	}
	return folder;
}
const load = async (files: Readonly<Record<string, string>> | string, flags: ConfigurationFlags = {}) => {
	const folder = await folderWith(typeof files === "string" ? { "f.toml": files } : files);
	try {
		return await loadConfiguration({ ...flags, config: join(folder, "f.toml") }, plugins);
	} catch (reason) {
		assert.ok(reason instanceof DaemonError, String(reason));
		throw new DaemonError(
			reason.code,
			{ kind: "configuration", id: reason.object.id.replace(`${folder}/`, "") },
			reason.problem.replaceAll(`${folder}/`, ""),
		);
	}
};

test("without a file everything has its default", () => {
	const { configs, ...rest } = defaultConfiguration(plugins);
	assert.deepEqual(rest, {
		root: "/var/lib/troupe",
		state: "/run/troupe",
		address: "/run/troupe/troupe.sock",
		owner: { uid: 0, gid: 0 },
		logLevel: "info",
		oomScore: 0,
		required: [],
		disabled: [],
	});
	assert.deepEqual([...configs.keys()], [one.key.uri, stream.key.uri]);
	assert.deepEqual(configs.get(one.key.uri), { size: 3 });
});

test("flags go before the file", async () => {
	const text =
		'version = 2\nroot = "/r"\nstate = "/s"\noom_score = -5\n[grpc]\naddress = "unix:///g.sock"\nuid = 1\ngid = 2\n[debug]\nlevel = "warning"\n';
	assert.partialDeepStrictEqual(await load(text), {
		root: "/r",
		state: "/s",
		address: "/g.sock",
		owner: { uid: 1, gid: 2 },
		oomScore: -5,
		logLevel: "warn",
	});
	const flags = { root: "/R", state: "/S", address: "/A", logLevel: "debug" } as const;
	assert.partialDeepStrictEqual(await load(text, flags), flags);
});

test("sections of plugins are checked by the plugins' own rules; the live page has a short one", async () => {
	const { configs } = await load('[plugins."io.troupe.test.v1.one"]\nsize = 7\n[stream]\naddress = ""\n');
	assert.deepEqual(configs.get(one.key.uri), { size: 7 });
	assert.deepEqual(configs.get(stream.key.uri), { address: "" });
	const long = await load('[plugins."io.troupe.live.v1.stream"]\naddress = ""\n');
	assert.deepEqual(long.configs.get(stream.key.uri), { address: "" });
});

test("an empty section turns on what is off by default", async () => {
	assert.equal((await load("")).configs.has(off.key.uri), false);
	assert.equal((await load('[plugins."io.troupe.test.v1.off"]\n')).configs.has(off.key.uri), true);
});

const uris = "io.troupe.live.v1.stream, io.troupe.test.v1.off, io.troupe.test.v1.one, io.troupe.test.v1.two";
const topLevel =
	"version, imports, root, state, oom_score, required_plugins, disabled_plugins, grpc, debug, stream, plugins";
const malformed: readonly (readonly [name: string, text: string, problem: string | RegExp])[] = [
	["broken TOML", 'state = "/s"\nroot = ', /^line 2, column \d+: Invalid TOML document: [^\n]+$/],
	["a key twice", 'root = "a"\nroot = "b"', /^line 2, column \d: Invalid TOML document: [^\n]+$/],
	["a table without end", "\n[grpc\n", /^line 2, column \d: Invalid TOML document: [^\n]+$/],
	["an unknown key", "# c\n\noom_skore = 1", `line 3, column 1: oom_skore: unknown key; allowed are ${topLevel}`],
	["an unknown table", "[timeouts]", `line 1, column 2: timeouts: unknown key; allowed are ${topLevel}`],
	[
		"an unknown key of [grpc]",
		'[grpc]\naddress = "/a"\n  tcp = "x"',
		"line 3, column 3: grpc.tcp: unknown key; allowed are address, uid, gid",
	],
	["a dotted unknown key", "debug.colour = 1", "line 1, column 7: debug.colour: unknown key; allowed are level"],
	["a wrong type", "root = 3", "line 1, column 1: root: Invalid input: expected string, received number"],
	["an empty path", 'root = ""', /^line 1, column 1: root: Too small/],
	[
		"a relative socket",
		'grpc.address = "a.sock"',
		"line 1, column 6: grpc.address: the socket's path must be absolute",
	],
	["an unknown version", "version = 9", "line 1, column 1: version: Invalid option: expected one of 2|3|4"],
	["a score out of range", "oom_score = -1001", /^line 1, column 1: oom_score: Too small: .*-1000/],
	["a negative uid", "[grpc]\nuid = -1", /^line 2, column 1: grpc\.uid: Too small/],
	[
		"an unknown level",
		'[debug]\nlevel = "loud"',
		'line 2, column 1: debug.level: "loud" is none of trace, debug, info, warn, error, fatal',
	],
	[
		"a section of no plugin",
		'[plugins."io.containerd.x.v1.y"]\na = 1',
		'line 1, column 10: plugins."io.containerd.x.v1.y": there is no such plugin; sections are io.troupe.live.v1.stream, io.troupe.test.v1.one',
	],
	["a section that is none", "[plugins]\ncri = 1", /^line 2, column 1: plugins\.cri: Invalid input: expected record/],
	[
		"a plugin's wrong value",
		'[plugins."io.troupe.test.v1.one"]\nsize = 0',
		/^line 2, column 1: plugins\."io\.troupe\.test\.v1\.one"\.size: Too small: .*>0/,
	],
	[
		"a plugin's unknown key",
		'[plugins."io.troupe.test.v1.one"]\nsise = 1',
		'line 2, column 1: plugins."io.troupe.test.v1.one".sise: unknown key; allowed are size, nested',
	],
	[
		"an unknown key deep in a plugin's section",
		'[plugins."io.troupe.test.v1.one"]\nnested = { a = 1, b = 2 }',
		'line 2, column 19: plugins."io.troupe.test.v1.one".nested.b: unknown key; allowed are a',
	],
	[
		"a key for a plugin without settings",
		'[plugins."io.troupe.test.v1.two"]\na = 1',
		'line 2, column 1: plugins."io.troupe.test.v1.two".a: unknown key; nothing can be set here',
	],
	[
		"an unknown key of [stream]",
		"[stream]\nport = 1",
		"line 2, column 1: stream.port: unknown key; allowed are address",
	],
	[
		"[stream] and the long section",
		'[stream]\n[plugins."io.troupe.live.v1.stream"]',
		'line 1, column 2: stream: is the same section as plugins."io.troupe.live.v1.stream"',
	],
	[
		"a required plugin that does not exist",
		`required_plugins = [\n"io.troupe.test.v1.one",\n"x"]`,
		`line 3, column 1: required_plugins.1: there is no plugin "x"; there are ${uris}`,
	],
	[
		"a disabled plugin that does not exist",
		'disabled_plugins = ["cri"]',
		`line 1, column 21: disabled_plugins.0: there is no plugin "cri"; there are ${uris}`,
	],
	[
		"a plugin required and disabled",
		'disabled_plugins = ["io.troupe.test.v1.two"]\nrequired_plugins = ["io.troupe.test.v1.two"]',
		"line 2, column 21: required_plugins.0: io.troupe.test.v1.two is in disabled_plugins, too",
	],
	[
		"two mistakes, in the order of their lines",
		'[stream]\nport = 1\n[plugins."io.troupe.test.v1.one"]\nsise = 1',
		'line 2, column 1: stream.port: unknown key; allowed are address; line 4, column 1: plugins."io.troupe.test.v1.one".sise: unknown key; allowed are size, nested',
	],
];
for (const [name, text, problem] of malformed)
	test(`${name} is refused with file, line and what is allowed`, async () => {
		const head = 'configuration "f.toml": ';
		const message = typeof problem === "string" ? `${head}${problem}` : (text: string) => text.startsWith(head);
		await assert.rejects(load(text), (error: DaemonError) => {
			assert.equal(error.code, "InvalidArgument");
			if (typeof message === "string") assert.equal(error.message, message);
			else assert.ok(message(error.message), error.message);
			if (typeof problem !== "string") assert.match(error.problem, problem);
			return true;
		});
	});

test("imports: relative globs in order, later files win by key, lists grow, a plugin's section is replaced whole", async () => {
	const configuration = await load({
		"f.toml": `root = "/main"\nstate = "/main"\nimports = ["conf.d/*.toml", "last.toml"]
required_plugins = ["io.troupe.test.v1.one"]\n[grpc]\nuid = 1\n[plugins."io.troupe.test.v1.one"]\nsize = 1\nnested.a = 1`,
		"conf.d/20.toml": 'root = "/20"\n[grpc]\ngid = 20',
		"conf.d/10.toml":
			'root = "/10"\nrequired_plugins = ["io.troupe.test.v1.two"]\n[plugins."io.troupe.test.v1.one"]\nsize = 10',
		"conf.d/30.conf": "not = TOML",
		"last.toml": '[debug]\nlevel = "error"',
	});
	assert.partialDeepStrictEqual(configuration, {
		root: "/20",
		state: "/main",
		owner: { uid: 1, gid: 20 },
		logLevel: "error",
		required: [one.key.uri, two.key.uri],
	});
	assert.deepEqual(configuration.configs.get(one.key.uri), { size: 10 });
});

test("imports may go round in circles, through links as well, and a glob may match nothing", async () => {
	const folder = await folderWith({
		"f.toml": 'imports = ["f.toml", "loop/f.toml", "none/*", "b.toml"]\ndisabled_plugins = ["io.troupe.test.v1.two"]',
		"b.toml": 'imports = ["./f.toml"]\nroot = "/b"',
	});
	await symlink(".", join(folder, "loop"));
	const { root, disabled } = await loadConfiguration({ config: join(folder, "f.toml") }, plugins);
	assert.deepEqual([root, disabled], ["/b", [two.key.uri]]);
});

test("what is wrong in an imported file is told with that file; a missing one with the file that names it", async () => {
	const importing = { "f.toml": '\nimports = ["d/*.toml"]' };
	const message = 'configuration "d/a.toml": line 2, column 1: stream.port: unknown key; allowed are address';
	await assert.rejects(load({ ...importing, "d/a.toml": "[stream]\nport = 1" }), { message });
	await assert.rejects(load({ ...importing, "d/a.toml": "=" }), { message: /^configuration "d\/a\.toml": line 1/ });
	await assert.rejects(load('\nimports = ["no.toml"]'), {
		code: "InvalidArgument",
		message: /^configuration "f\.toml": line 2, column 12: imports\.0: ENOENT.*no\.toml/,
	});
});

test("a file that was named must exist", async () => {
	await assert.rejects(loadConfiguration({ config: "/nope.toml" }, []), { code: "NotFound", message: /nope/ });
});

test("who needs the address only is not told of sections he cannot check", async () => {
	const folder = await folderWith({ "f.toml": 'grpc.address = "/a"\n[plugins."io.x.v1.y"]\na = 1' });
	assert.equal(await loadAddress({ config: join(folder, "f.toml") }), "/a");
	assert.equal(await loadAddress({ config: "/nope.toml", address: "/flag" }), "/flag");
	await assert.rejects(loadAddress({ config: "/nope.toml" }), { code: "NotFound" });
});

test("what is dumped is read as the same: file, imports and flags", async () => {
	const configuration = await load(
		{
			"f.toml": 'root = "/r"\nimports = ["i.toml"]\noom_score = 3\ndisabled_plugins = ["io.troupe.test.v1.two"]',
			"i.toml":
				'[plugins."io.troupe.test.v1.one"]\nsize = 7\nnested.a = 1\n[plugins."io.troupe.test.v1.off"]\n[grpc]\ngid = 9',
		},
		{ state: "/S", address: "/a.sock", logLevel: "trace" },
	);
	assert.deepEqual(await load(writeConfiguration(configuration)), configuration);
});

test("config/default.toml is what `trouped config default` prints, and is read as the default", async () => {
	const file = new URL("../../config/default.toml", import.meta.url).pathname;
	const configuration = defaultConfiguration(daemonPlugins);
	assert.equal(await readFile(file, "utf8"), writeConfiguration(configuration));
	assert.deepEqual(await loadConfiguration({ config: file }, daemonPlugins), configuration);
});
