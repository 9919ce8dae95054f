import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import * as z from "zod";
import { DaemonError } from "../errors/daemon-error.ts";
import { type Plugin, type PluginLog, plugin, SkipPlugin } from "./plugin.ts";
import { startOrder } from "./plugin-graph.ts";
import { pluginGroup, pluginKey } from "./plugin-key.ts";
import { type PluginsOptions, RunningPlugins } from "./running-plugins.ts";

const silent: PluginLog = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const start = (plugins: readonly Plugin[], options: Partial<PluginsOptions> = {}): Promise<RunningPlugins> =>
	RunningPlugins.start({
		plugins,
		root: "/root",
		state: "/state",
		addresses: { grpc: "/s", ttrpc: "/s.ttrpc" },
		log: silent,
		signal: new AbortController().signal,
		...options,
	});
const key = <T = string>(id: string) => pluginKey<T>(`io.troupe.test.v1.${id}`);
const simple = (id: string, needs: readonly string[] = []): Plugin =>
	plugin({ key: key(id), needs: Object.fromEntries(needs.map((need) => [need, key(need)])), start: () => id });

describe("plugin graph", () => {
	it("every missing key, double key and cycle is reported at once, by name", () => {
		const plugins = [simple("a", ["b"]), simple("b", ["a"]), simple("c", ["nowhere", "c"]), simple("d"), simple("d")];
		assert.throws(
			() => startOrder(plugins),
			(error) => {
				assert.ok(error instanceof DaemonError);
				assert.equal(error.code, "InvalidArgument");
				const t = "io.troupe.test.v1.";
				assert.deepEqual(error.problem.split("; "), [
					`two plugins have the key ${t}d`,
					`${t}c needs ${t}nowhere, which no plugin provides`,
					`cycle: ${t}a needs ${t}b needs ${t}a`,
					`cycle: ${t}c needs ${t}c`,
				]);
				return true;
			},
		);
	});

	it("in any order of the list, a plugin comes after all it needs", () => {
		const graph = { a: [], b: ["a"], c: ["a", "b"], d: ["c"], e: [], f: ["e", "c"] };
		const plugins = Object.entries(graph).map(([id, needs]) => simple(id, needs));
		fc.assert(
			fc.property(fc.shuffledSubarray(plugins, { minLength: plugins.length }), (shuffled) => {
				const order = startOrder(shuffled).map(({ key: { id } }) => id);
				for (const [id, needs] of Object.entries(graph))
					for (const need of needs) assert.ok(order.indexOf(need) < order.indexOf(id));
			}),
		);
	});

	it("a key that is not <type>.v<n>.<id> is refused", () => {
		for (const uri of ["leases", "io.containerd.grpc.leases", ""]) assert.throws(() => pluginKey(uri));
	});
});

describe("running plugins", () => {
	it("a plugin gets what it needs, its own directories and its own section", async () => {
		const numbers = key<number>("numbers");
		const seen: unknown[] = [];
		const running = await start(
			[
				plugin({
					key: key("reader"),
					needs: { numbers, all: pluginGroup<string>("io.troupe.other.v1") },
					optional: { absent: key("absent") },
					config: z.strictObject({ limit: z.number().default(3) }),
					start({ root, state, config, announce, plugins }, { numbers, all, absent }) {
						announce({ capabilities: ["reads"], exports: { root } });
						seen.push(root, state, config.limit, numbers + 1, [...all], absent, plugins().length);
						return "reader";
					},
				}),
				plugin({ key: pluginKey<string>("io.troupe.other.v1.one"), start: () => "1" }),
				plugin({ key: numbers, start: async () => 41 }),
			],
			{ configs: new Map([[key("reader").uri, { limit: 7 }]]) },
		);
		const uri = key("reader").uri;
		assert.deepEqual(seen, [`/root/${uri}`, `/state/${uri}`, 7, 42, [["one", "1"]], undefined, 3]);
		assert.equal(running.get(numbers), 41);
		assert.deepEqual(running.list().at(-1), {
			type: "io.troupe.test.v1",
			id: "reader",
			requires: [numbers.uri, "io.troupe.other.v1", key("absent").uri],
			capabilities: ["reads"],
			exports: { root: `/root/${uri}` },
			outcome: { state: "ok" },
		});
	});

	it("a plugin that fails takes down only those that need it; a skip is no failure", async () => {
		const fail = plugin({
			key: key("fails"),
			start: () => {
				throw new Error("no kernel support");
			},
		});
		const skip = plugin({
			key: key("skips"),
			start: () => {
				throw new SkipPlugin("no btrfs here");
			},
		});
		const running = await start([fail, skip, simple("child", ["fails"]), simple("other"), simple("off", [])], {
			disabled: [key("off").uri],
		});
		const outcomes = running.list().map(({ id, outcome }) => {
			if (outcome.state === "failed") return [id, "failed", outcome.error.message];
			return [id, outcome.state, ...(outcome.state === "skipped" ? [outcome.reason] : [])];
		});
		const t = "io.troupe.test.v1";
		assert.deepEqual(outcomes, [
			["fails", "failed", `plugin "${t}.fails": no kernel support`],
			["skips", "skipped", "no btrfs here"],
			[
				"child",
				"failed",
				`plugin "${t}.child": needs what has not started: ${t}.fails (plugin "${t}.fails": no kernel support)`,
			],
			["other", "ok"],
			["off", "skipped", "disabled by the configuration"],
		]);
	});

	it("a required plugin that does not start ends the daemon, and what had started is stopped in reverse order", async () => {
		const stopped: string[] = [];
		const stoppable = (id: string, needs: readonly string[] = []): Plugin => ({
			...simple(id, needs),
			stop: (value) => void stopped.push(String(value)),
		});
		const broken = plugin({ key: key("broken"), start: () => Promise.reject(new Error("boom")) });
		await assert.rejects(
			start([stoppable("b", ["a"]), stoppable("a"), broken], { required: [key("broken").uri, key("none").uri] }),
			(error) => {
				assert.ok(error instanceof DaemonError);
				assert.equal(error.code, "FailedPrecondition");
				assert.match(error.message, /broken \(.*boom\); io\.troupe\.test\.v1\.none \(no such plugin\)/);
				return true;
			},
		);
		assert.deepEqual(stopped, ["b", "a"]);
	});

	it("a plugin that is off by default starts when the configuration has a section for it", async () => {
		const off = (): Plugin => plugin({ key: key("off"), disabled: true, start: () => "on" });
		assert.equal((await start([off()])).get(key("off")), undefined);
		assert.equal((await start([off()], { configs: new Map([[key("off").uri, {}]]) })).get(key("off")), "on");
	});

	it("a plugin that hangs while stopping is left behind after its time", async () => {
		const errors: string[] = [];
		const log: PluginLog = { ...silent, error: (_, message) => errors.push(message), child: () => silent };
		const hangs = plugin({ key: key("hangs"), start: () => "", stop: () => new Promise<void>(() => {}) });
		const running = await start([hangs], { log, stopTimeoutMs: 5 });
		await running.stop();
		assert.deepEqual(errors, ["plugin has not stopped"]);
	});
});
