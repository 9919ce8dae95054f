import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { DaemonError } from "../errors/daemon-error.ts";
import { defaultPath, mergeEnvironment } from "./environment.ts";
import { generateSpec, type SpecOptions } from "./generate-spec.ts";
import { type ImageConfig, parseImageConfig } from "./image-config.ts";
import { parseMount } from "./mount-option.ts";
import type { Spec } from "./runtime-spec.ts";
import { parseUserDatabase } from "./user-database.ts";

const image = (config: object): ImageConfig =>
	parseImageConfig(new TextEncoder().encode(JSON.stringify({ config, rootfs: { diff_ids: [] } })), "x");
const database = parseUserDatabase("root:x:0:0::/:\n", "root:x:0:\n");
const base: SpecOptions = { namespace: "default", id: "web", image: "x" };
const specOf = (config: object, options: Partial<SpecOptions> = {}): Spec =>
	generateSpec(image(config), { ...base, ...options }, database);

const refused = (action: () => unknown, code: string, words: RegExp): void => {
	assert.throws(action, (error) => error instanceof DaemonError && error.code === code && words.test(error.message));
};

const hasCtr = (() => {
	try {
		execFileSync("ctr", ["--version"], { stdio: "ignore" });
		return true;
	} catch {
		return false;
	}
})();

test("the default spec is the one that containerd's ctr prints", {
	skip: hasCtr ? false : "NOT COMPARED: there is no ctr on this host (apt-get install containerd)",
}, () => {
	const theirs = JSON.parse(execFileSync("ctr", ["oci", "spec"], { encoding: "utf8" })) as Spec;
	const ours = structuredClone(specOf({ Cmd: ["true"] }));
	const unified = theirs.linux?.namespaces?.some(({ type }) => type === "cgroup") === true;
	if (unified) ours.linux?.namespaces?.push({ type: "cgroup" });
	// what ctr run adds to `ctr oci spec`: the command, its environment, groups, device rules and the container's name
	assert.deepEqual(
		{
			...ours,
			ociVersion: theirs.ociVersion,
			process: { ...ours.process, args: undefined, env: undefined, user: { uid: 0, gid: 0 } },
			linux: {
				...ours.linux,
				cgroupsPath: "/default",
				resources: { devices: ours.linux?.resources?.devices?.slice(0, 1) },
			},
		},
		{ ...theirs, process: { ...theirs.process, args: undefined, env: undefined, user: { uid: 0, gid: 0 } } },
	);
});

test("command and entrypoint merge as docker and ctr do", () => {
	const argsOf = (config: object, options?: Partial<SpecOptions>) => specOf(config, options).process?.args;
	assert.deepEqual(argsOf({ Entrypoint: ["/e"], Cmd: ["c"] }), ["/e", "c"]);
	assert.deepEqual(argsOf({ Entrypoint: ["/e"], Cmd: ["c"] }, { args: ["mine"] }), ["/e", "mine"]);
	assert.deepEqual(argsOf({ Entrypoint: ["/e"], Cmd: ["c"] }, { entrypoint: ["/mine"] }), ["/mine"]);
	assert.deepEqual(argsOf({ Entrypoint: ["/e"] }), ["/e"]);
	refused(() => specOf({}), "InvalidArgument", /image "x" .*neither an entrypoint nor a command/);
});

test("the image's environment gives way to the caller's, and an empty one becomes the default PATH", () => {
	const envOf = (config: object, options?: Partial<SpecOptions>) =>
		specOf({ Cmd: ["a"], ...config }, options).process?.env;
	assert.deepEqual(envOf({}), [defaultPath]);
	assert.deepEqual(envOf({ Env: ["A=1", "PATH=/x", "B=2"] }, { env: ["B=3", "C=4", "A"] }), ["PATH=/x", "B=3", "C=4"]);
	assert.deepEqual(envOf({ Env: ["A=1"] }, { terminal: true }), ["A=1", "TERM=xterm"]);
	assert.deepEqual(envOf({ Env: ["TERM=vt100"] }, { terminal: true }), ["TERM=vt100"]);
});

test("merging environments keeps one line per name, and the last override wins", () => {
	const line = fc.tuple(fc.constantFrom("A", "B", "C"), fc.string()).map(([name, value]) => `${name}=${value}`);
	fc.assert(
		fc.property(fc.array(line), fc.array(line), (defaults, overrides) => {
			const merged = mergeEnvironment(defaults, overrides);
			const names = merged.map((entry) => entry.split("=")[0]);
			assert.equal(new Set(names).size, names.length);
			const expected = new Map([...defaults, ...overrides].map((entry) => [entry.split("=")[0], entry]));
			assert.deepEqual(new Set(merged), new Set(expected.values()));
		}),
	);
});

test("limits land in the resources, with ctr's period", () => {
	const resources = specOf({ Cmd: ["a"] }, { memoryLimit: 64e6, cpus: 1.5, cpuShares: 512, pidsLimit: 9 }).linux
		?.resources;
	assert.deepEqual(resources?.memory, { limit: 64e6 });
	assert.deepEqual(resources?.cpu, { shares: 512, quota: 150_000, period: 100_000 });
	assert.deepEqual(resources?.pids, { limit: 9 });
	for (const bad of [0, -1, Number.NaN])
		refused(() => specOf({ Cmd: ["a"] }, { memoryLimit: bad }), "InvalidArgument", /container "web".*memory limit/);
});

test("host network shares the namespace and the host's name resolution", () => {
	const spec = specOf({ Cmd: ["a"] }, { hostNetwork: true });
	assert.ok(!spec.linux?.namespaces?.some(({ type }) => type === "network"));
	assert.deepEqual(
		spec.mounts?.slice(-2).map((mount) => mount.destination),
		["/etc/hosts", "/etc/resolv.conf"],
	);
});

test("a mount on the destination of a default mount takes its place", () => {
	const mounts = specOf(
		{ Cmd: ["a"] },
		{ mounts: [parseMount("src=/a,dst=/dev"), parseMount("src=/b,dst=/data")] },
	).mounts;
	assert.equal(mounts?.[1]?.source, "/a");
	assert.equal(mounts?.at(-1)?.destination, "/data");
	assert.equal(mounts?.filter((mount) => mount.destination === "/dev").length, 1);
});

test("capabilities are added and dropped by name, with or without CAP_", () => {
	const capabilities = (options: Partial<SpecOptions>) =>
		specOf({ Cmd: ["a"] }, options).process?.capabilities?.bounding;
	assert.ok(capabilities({ addCapabilities: ["net_admin"] })?.includes("CAP_NET_ADMIN"));
	assert.ok(!capabilities({ dropCapabilities: ["CAP_CHOWN"] })?.includes("CAP_CHOWN"));
	assert.deepEqual(capabilities({ dropCapabilities: ["ALL"], addCapabilities: ["KILL"] }), ["CAP_KILL"]);
	refused(() => capabilities({ addCapabilities: ["ALL"] }), "InvalidArgument", /name each one/);
});

test("mounts are read in ctr's syntax", () => {
	assert.deepEqual(parseMount("type=bind,src=/tmp,dst=/host,options=rbind:ro"), {
		destination: "/host",
		type: "bind",
		source: "/tmp",
		options: ["rbind", "ro"],
	});
	assert.deepEqual(parseMount("source=/a=b,target=/c,ro").options, ["rbind", "ro"]);
	assert.deepEqual(parseMount("type=tmpfs,dst=/t,options=size=1m").source, "tmpfs");
	for (const bad of ["src=/a", "src=a,dst=/b", "src=/a,dst=b", "nonsense", "src=/a,dst=/b,color=red"])
		refused(() => parseMount(bad), "InvalidArgument", /^mount /);
});

test("two specs share nothing that one could change in the other", () => {
	const [first, second] = [specOf({ Cmd: ["a"] }), specOf({ Cmd: ["a"] })];
	first.linux?.resources?.devices?.splice(0);
	first.process?.capabilities?.bounding?.splice(0);
	first.mounts?.[0]?.options?.splice(0);
	assert.deepEqual(second, specOf({ Cmd: ["a"] }));
});

test("a config that is not one is refused with the image's name", () => {
	const bytes = (text: string) => new TextEncoder().encode(text);
	for (const bad of ["", "[]", "null", '{"config":7}', '{"config":{"Env":"A=1"}}', '{"config":{"User":3}}'])
		refused(() => parseImageConfig(bytes(bad), "x"), "InvalidArgument", /image "x"/);
	assert.equal(parseImageConfig(bytes("{}"), "x").user, "");
});
