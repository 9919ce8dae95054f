import assert from "node:assert/strict";
import { openSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { logLevel, openLog } from "./log.ts";
import { readableLine } from "./readable-line.ts";

test("a line carries its fields, the child's fields, the error's stack and an ISO time", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-log-"));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, "log");
	const log = openLog({ level: "info", descriptor: openSync(file, "w") });
	log.child({ room: "gc" }).warn({ error: new Error("no space") }, "sweep failed");
	log.debug({}, "below the level");
	log.flush();
	const lines = readFileSync(file, "utf8").trim().split("\n");
	assert.equal(lines.length, 1);
	const line = JSON.parse(lines[0] ?? "");
	assert.equal(line.room, "gc");
	assert.equal(line.msg, "sweep failed");
	assert.match(line.error.stack, /no space/);
	assert.match(line.time, /^\d{4}-\d\d-\d\dT/);
});

test("a level can be handed on by itself, also a child's", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-log-"));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, "log");
	const log = openLog({ level: "info", descriptor: openSync(file, "w") });
	const { warn } = log;
	const { error } = log.child({ room: "shims" });
	warn({}, "alone");
	error({}, "alone too");
	log.flush();
	const messages = readFileSync(file, "utf8")
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line).msg);
	assert.deepEqual(messages.sort(), ["alone", "alone too"]); // flush may overtake a write under way
});

test("a terminal gets one readable line, with the stack below it", () => {
	const line = readableLine(
		JSON.stringify({
			level: 50,
			time: "2026-01-02T03:04:05.678Z",
			msg: "broke",
			id: "web",
			error: { stack: "Error: x\n at y" },
		}),
	);
	// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
	const plain = line.replaceAll(/\u001b\[\d+m/g, "");
	assert.equal(plain, "03:04:05.678 ERROR broke  id=web\n    Error: x\n     at y\n");
});

test("what is not JSON passes as it is", () => {
	assert.equal(readableLine("plain\n"), "plain\n");
});

test("containerd's level names are taken, others are no level", () => {
	assert.equal(logLevel("warning"), "warn");
	assert.equal(logLevel("PANIC"), "fatal");
	assert.equal(logLevel("info"), "info");
	assert.equal(logLevel("loud"), undefined);
});
