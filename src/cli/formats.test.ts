import assert from "node:assert/strict";
import { test } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import { stateText } from "./actor-node.ts";
import { failure } from "./failure.ts";
import { age, bytes, milliseconds } from "./human.ts";
import { parseBytes, parsePositive, parseSignal, parseVolume } from "./option-values.ts";
import { table } from "./table.ts";

test("sizes are read with units of 1024 and written with units of 1000", () => {
	assert.equal(parseBytes("memory", "64m"), 64n << 20n);
	assert.equal(parseBytes("memory", "1.5GiB"), 3n << 29n);
	assert.equal(parseBytes("memory", "1000"), 1000n);
	for (const bad of ["", "m", "-1", "1x", "1e3"])
		assert.throws(() => parseBytes("memory", bad), { code: "InvalidArgument" });
	assert.deepEqual([0, 999, 1000, 1234567, 25e9].map(bytes), ["0 B", "999 B", "1.00 kB", "1.23 MB", "25.0 GB"]);
});

test("signals are read by name and by number", () => {
	for (const text of ["KILL", "SIGKILL", "sigkill", "9"]) assert.equal(parseSignal(text), 9, text);
	assert.equal(parseSignal("SIGRTMIN+3"), 37);
	for (const bad of ["", "0", "65", "SIGNONE"]) assert.throws(() => parseSignal(bad), { code: "InvalidArgument" });
});

test("numbers above zero and docker's volumes", () => {
	assert.equal(parsePositive("cpus", "1.5"), 1.5);
	for (const bad of ["", "0", "-1", "x"]) assert.throws(() => parsePositive("cpus", bad), { code: "InvalidArgument" });
	assert.equal(parseVolume("/a:/b:ro"), "type=bind,src=/a,dst=/b,options=rbind:ro");
	assert.throws(() => parseVolume("/a"), { code: "InvalidArgument" });
});

test("ages and times", () => {
	assert.deepEqual([-5, 1999, 119_999, 120_000, 7_200_000, 172_800_000].map(age), [
		"0s",
		"1s",
		"119s",
		"2m",
		"2h",
		"2d",
	]);
	assert.equal(milliseconds({ seconds: 2n, nanos: 500_000_000 }), 2500);
	assert.equal(milliseconds(undefined), undefined);
	assert.equal(milliseconds({ seconds: 0n, nanos: 0 }), undefined);
});

test("tables are aligned and have no trailing blanks", () => {
	assert.equal(
		table(
			["A", "LONG"],
			[
				["long cell", "x"],
				["y", ""],
			],
		),
		"A          LONG\nlong cell  x\ny",
	);
});

test("a failure is one line, with what to do, and an exit code as the field has it", () => {
	const task = { kind: "task", namespace: "default", id: "web" };
	const of = (code: "Unknown" | "NotFound" | "Unavailable", problem: string, object = task) =>
		failure(new DaemonError(code, object, problem));
	assert.deepEqual(of("NotFound", "not found"), {
		line: 'troupe: task "web" in namespace "default": not found. See what there is: troupe ps',
		code: 125,
	});
	assert.equal(of("Unknown", 'runc create failed: exec: "x": executable file not found in $PATH: unknown').code, 127);
	assert.equal(
		of("Unknown", "crun: open executable: Permission denied while starting container: exec: permission denied").code,
		126,
	);
	assert.equal(of("Unknown", "two\nlines").line, 'troupe: task "web" in namespace "default": two; lines');
	assert.equal(failure(new Error("plain")).line, "troupe: plain");
});

test("state values of nested and parallel machines are words", () => {
	assert.equal(stateText("running"), "running");
	assert.equal(stateText({ active: "paused" }), "active.paused");
	assert.equal(stateText({ a: "x", b: { c: "y" } }), "a.x & b.c.y");
	assert.equal(stateText(null), "-");
});
