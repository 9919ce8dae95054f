import assert from "node:assert/strict";
import { test } from "node:test";
import * as z from "zod";
import { plugin } from "../plugin/plugin.ts";
import { pluginKey } from "../plugin/plugin-key.ts";
import { configurationOf, defaultConfiguration, loadConfiguration, writeConfiguration } from "./configuration.ts";

const one = plugin({
	key: pluginKey<true>("io.troupe.test.v1.one"),
	config: z.strictObject({ size: z.int().positive().default(3) }),
	start: () => true as const,
});
const stream = plugin({
	key: pluginKey<true>("io.troupe.live.v1.stream"),
	config: z.strictObject({ address: z.string().default("127.0.0.1:7010") }),
	start: () => true as const,
});
const read = (text: string, flags = {}) => configurationOf(text, "f.toml", flags, [one, stream]);

test("without a file everything has its default", () => {
	const { root, state, address, logLevel, configs, warnings } = defaultConfiguration([one]);
	assert.deepEqual(
		[root, state, address, logLevel, warnings],
		["/var/lib/troupe", "/run/troupe", "/run/troupe/troupe.sock", "info", []],
	);
	assert.deepEqual(configs.get("io.troupe.test.v1.one"), { size: 3 });
});

test("flags go before the file", () => {
	const text = 'version = 2\nroot = "/r"\nstate = "/s"\n[grpc]\naddress = "/g.sock"\n[debug]\nlevel = "warning"\n';
	assert.partialDeepStrictEqual(read(text), { root: "/r", state: "/s", address: "/g.sock", logLevel: "warn" });
	const flags = { root: "/R", state: "/S", address: "/A", logLevel: "debug" };
	assert.partialDeepStrictEqual(read(text, flags), flags);
});

test("sections of plugins are checked by the plugins' own rules; the live page has a short one", () => {
	const { configs } = read('[plugins."io.troupe.test.v1.one"]\nsize = 7\n[stream]\naddress = ""\n');
	assert.deepEqual(configs.get("io.troupe.test.v1.one"), { size: 7 });
	assert.deepEqual(configs.get("io.troupe.live.v1.stream"), { address: "" });
});

test("what is not known is named and ignored", () => {
	const { warnings } = read('oom_score = 1\n[plugins."io.containerd.x.v1.y"]\na = 1\n');
	assert.deepEqual(warnings, [
		"f.toml: unknown key oom_score is ignored",
		"f.toml: section of unknown plugin io.containerd.x.v1.y is ignored",
	]);
});

for (const [name, text, problem] of [
	["broken TOML", "root = ", /f\.toml/],
	["a wrong type", "root = 3", /root/],
	["an unknown version", "version = 9", /version/],
	["an unknown level", '[debug]\nlevel = "loud"', /debug\.level: "loud"/],
	["a plugin's wrong value", '[plugins."io.troupe.test.v1.one"]\nsize = 0', /plugins\.io\.troupe\.test\.v1\.one\.size/],
	["a plugin's unknown key", '[plugins."io.troupe.test.v1.one"]\nsise = 1', /sise/],
] as const)
	test(`${name} is refused with file and key`, () => {
		assert.throws(() => read(text), { code: "InvalidArgument", message: problem });
	});

test("a file that was named must exist", async () => {
	await assert.rejects(loadConfiguration({ config: "/nope.toml" }, []), { code: "NotFound", message: /nope/ });
});

test("what is written is read as the same", () => {
	const configuration = read('root = "/r"\ndisabled_plugins = ["x"]\n[plugins."io.troupe.test.v1.one"]\nsize = 7\n');
	assert.deepEqual(read(writeConfiguration(configuration)), configuration);
});
