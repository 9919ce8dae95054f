import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { processLimits, processMachine } from "./process.machine.ts";
import type { Exit } from "./process-facts.ts";
import {
	checkAnswers,
	checkDeadlines,
	describePath,
	type Message,
	ordersOf,
	type Path,
	replay,
	stashOf,
	stateOf,
	step,
	walk,
} from "./walk.test-fixture.ts";

const input = {
	namespace: "default",
	id: "web",
	execId: "sh",
	stdin: "",
	stdout: "",
	stderr: "",
	terminal: false,
};
const exit: Message = { type: "process.exited", pid: 8, exitStatus: 3, exitedAt: 100n };
const refusal = { code: "Unknown", problem: "no" };
const facts: readonly Message[] = [
	exit,
	{ ...exit, exitStatus: 255, unknown: true },
	{ type: "witness.exited", pid: 8, exitStatus: 3, exitedAt: 101n, known: true },
	{ type: "witness.saw", pid: 8, exitStatus: 3, exitedAt: 101n, known: true },
	{ type: "witness.exited", pid: 8, exitStatus: 255, exitedAt: 101n, known: false },
	{ type: "shim.added" },
	{ type: "shim.started", pid: 8 },
	{ type: "shim.deleted" },
	{ type: "shim.refused", ...refusal },
	{ type: "shim.silent", ...refusal },
	{ type: "process.discarded" },
	{ type: "task.deleted", exitedAt: 140n },
	{ type: "shim.lost" },
	{ type: "shim.adopted", shim: "shard-2" },
	{ type: "stdio.lost", lost: ["its terminal: no"] },
	{ type: "shim.buried", exitStatus: 137, exitedAt: 120n },
	{ type: "state.created", pid: 0 },
	{ type: "state.running", pid: 8 },
	{ type: "state.paused", pid: 8 },
	{ type: "state.stopped", pid: 8, exitStatus: 3, exitedAt: 100n },
	{ type: "state.absent", exitedAt: 130n },
	{ type: "state.silent", problem: "no answer" },
	{ type: "restored" },
	{ type: "request.cancelled", request: "add#0" },
	...Object.keys(processLimits).map((name) => ({ type: "deadline.passed", name })),
];
const messages: readonly Message[] = [
	...["add", "start", "delete", "wait"].map((type) => ({ type, request: "new" })),
	{ type: "kill", request: "new", signal: 9, all: false },
	...facts,
];
const settled = new Set(["added", "running", "stopped"]);
const paths = walk(processMachine, input, messages, ({ pid, started, exit: end, early, witnessed }) => [
	pid,
	started,
	end !== undefined,
	(early as readonly Exit[]).length,
	witnessed !== undefined,
]);
const published = (path: Path): string[] =>
	ordersOf(path)
		.map(({ type }) => type)
		.filter((type) => type.startsWith("publish"));

function checkPublished(path: Path): void {
	const events = published(path);
	const where = `${events} (${describePath(path)})`;
	assert.equal(new Set(events).size, events.length, `told twice: ${where}`);
	const order = ["publishAdded", "publishStarted", "publishExit"];
	assert.deepEqual(
		events,
		order.filter((type) => events.includes(type)),
		where,
	);
	const last = path.at(-1)?.to;
	assert.equal(events.includes("publishExit"), last?.context.exit !== undefined, `record and event differ: ${where}`);
	if (last?.status === "done" && events.includes("publishStarted"))
		assert.ok(events.includes("publishExit"), `a started process is forgotten without its exit: ${where}`);
}

test("events are told once and in order, and no started process ends without its exit, on every path", () => {
	assert.ok(paths.length > 1_000, `only ${paths.length} paths`);
	for (const path of paths) checkPublished(path);
});

test("every state of the drawing is reached", () => {
	const reached = new Set(paths.flatMap((path) => path.flatMap(({ from, to }) => [stateOf(from), stateOf(to)])));
	for (const name of Object.keys(processMachine.states))
		assert.ok(reached.has(name) || name === "undeleted", `${name} is never reached`); // undeleted is left at once
});

test("an exit before the answer to start is told after the start", () => {
	const path = replay(processMachine, input, [
		{ type: "add", request: "new" },
		{ type: "shim.added" },
		{ type: "start", request: "new" },
		exit,
		{ type: "shim.started", pid: 8 },
		{ type: "wait", request: "new" },
	]);
	assert.deepEqual(published(path), ["publishAdded", "publishStarted", "publishExit"]);
	assert.deepEqual(path.at(-1)?.orders.at(-1)?.params, {
		request: "wait#5",
		value: { pid: 8, exitStatus: 3, exitedAt: 100n },
	});
});

test("an exit whose start was never answered is told, and the start before it", () => {
	for (const outcome of ["shim.silent", "shim.lost"]) {
		const path = replay(processMachine, input, [
			{ type: "add", request: "new" },
			{ type: "shim.added" },
			{ type: "start", request: "new" },
			exit,
			{ type: outcome, ...refusal },
		]);
		assert.deepEqual(published(path), ["publishAdded", "publishStarted", "publishExit"], outcome);
	}
});

test("a running process whose container is deleted ends with its own exit, or with 255 when that does not come", () => {
	const running = [
		{ type: "add", request: "new" },
		{ type: "shim.added" },
		{ type: "start", request: "new" },
		{ type: "shim.started", pid: 8 },
		{ type: "task.deleted", exitedAt: 140n },
	];
	const told = replay(processMachine, input, [...running, exit]);
	assert.equal(told.at(-1)?.to.context.exit.exitStatus, 3);
	const untold = replay(processMachine, input, [...running, { type: "deadline.passed", name: "orphan" }]);
	assert.deepEqual(untold.at(-1)?.to.context.exit, { pid: 8, exitStatus: 255, exitedAt: 140n, unknown: true });
});

test("a repeated exit changes nothing", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (last === undefined || last.to.status !== "active" || last.to.context.exit === undefined) continue;
		const again = step(processMachine, last.to, exit);
		assert.deepEqual([again.to.value, again.to.context, again.orders], [last.to.value, last.to.context, []]);
	}
});

test("every request is answered at most once", () => {
	for (const path of paths) checkAnswers(path);
});

test("every waiting state has a deadline with an outcome, and no other has one", () => {
	for (const path of paths) checkDeadlines(processMachine, path, settled);
});

test("no state holds a request that it could take", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (last === undefined || last.to.status !== "active") continue;
		for (const type of stashOf(last.to))
			assert.equal(last.to.can({ type, request: "r" } as never), false, `${stateOf(last.to)} holds ${type}`);
	}
});

test("random walks keep the promises too", () => {
	fc.assert(
		fc.property(fc.array(fc.constantFrom(...messages), { maxLength: 40 }), (walked) => {
			const path = replay(processMachine, input, [{ type: "add", request: "new" }, ...walked]);
			const ended = path.findIndex(({ to }) => to.status !== "active");
			const living = ended < 0 ? path : path.slice(0, ended + 1);
			checkPublished(living);
			checkAnswers(living);
			checkDeadlines(processMachine, living, settled);
		}),
		{ numRuns: 2_000 },
	);
});
