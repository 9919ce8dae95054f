import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments } from "./arguments.ts";

const cases: readonly (readonly [string, object])[] = [
	["", { name: "run", flags: {} }],
	[
		"-c /c --root /r --state /s -a unix:///a.sock -l warning",
		{ name: "run", flags: { config: "/c", root: "/r", state: "/s", address: "/a.sock", logLevel: "warn" } },
	],
	["--root /r config default", { name: "config default", flags: { root: "/r" } }],
	["config dump", { name: "config dump", flags: {} }],
	[
		"-a /a publish --topic /x --namespace n",
		{ name: "publish", flags: { address: "/a" }, topic: "/x", namespace: "n" },
	],
	["--version", { name: "version" }],
	["-h", { name: "help" }],
];
for (const [line, expected] of cases)
	test(`"trouped ${line}" is understood`, () =>
		assert.deepEqual(parseArguments(line.split(" ").filter((word) => word !== "")), expected));

for (const [line, problem] of [
	["--nope", /--nope/],
	["--log-level loud", /"loud"/],
	["config", /unknown command "config"/],
	["serve", /unknown command "serve"/],
	["publish --topic /x", /needs --topic and --namespace/],
	["--topic /x", /belong to publish/],
] as const)
	test(`"trouped ${line}" is refused with the reason`, () =>
		assert.throws(() => parseArguments(line.split(" ")), problem));
