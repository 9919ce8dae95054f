import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Exit } from "./process-facts.ts";
import { taskMachine } from "./task.machine.ts";
import { taskLimits } from "./task-messages.ts";
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
	runtime: "io.containerd.troupe.v2",
	bundle: "/run/troupe/b",
	stdin: "",
	stdout: "",
	stderr: "",
	terminal: false,
};
const exit: Message & Exit = { type: "process.exited", pid: 7, exitStatus: 3, exitedAt: 100n };
const stale: Message = { type: "process.exited", pid: 6, exitStatus: 9, exitedAt: 50n };
const refusal = { code: "Unknown", problem: "no" };

const requests: readonly Message[] = [
	...["create", "start", "pause", "resume", "delete", "wait", "exec"].map((type) => ({ type, request: "new" })),
	{ type: "kill", request: "new", signal: 9, all: false },
	{ type: "checkpoint", request: "new", path: "/c", typeUrl: "", options: new Uint8Array() },
];
const facts: readonly Message[] = [
	exit,
	stale,
	{ ...exit, exitStatus: 255, unknown: true },
	{ type: "witness.exited", pid: 7, exitStatus: 3, exitedAt: 101n, known: true },
	{ type: "witness.saw", pid: 7, exitStatus: 3, exitedAt: 101n, known: true },
	{ type: "witness.exited", pid: 7, exitStatus: 255, exitedAt: 101n, known: false },
	{ type: "process.oomed", at: 90n },
	{ type: "shim.created", pid: 7, shim: "shard-1" },
	{ type: "shim.started", pid: 7 },
	{ type: "shim.paused" },
	{ type: "shim.resumed" },
	{ type: "shim.deleted" },
	{ type: "shim.refused", ...refusal },
	{ type: "shim.silent", ...refusal },
	{ type: "task.discarded" },
	{ type: "shim.lost" },
	{ type: "shim.adopted", shim: "shard-2" },
	{ type: "stdio.lost", lost: ["its terminal: no"] },
	{ type: "shim.buried", exitStatus: 137, exitedAt: 120n },
	{ type: "state.created", pid: 7 },
	{ type: "state.running", pid: 7 },
	{ type: "state.paused", pid: 7 },
	{ type: "state.stopped", pid: 7, exitStatus: 3, exitedAt: 100n },
	{ type: "state.absent", exitedAt: 130n },
	{ type: "state.silent", problem: "no answer" },
	{ type: "restored" },
	{ type: "request.cancelled", request: "create#0" },
	...Object.keys(taskLimits).map((name) => ({ type: "deadline.passed", name })),
];
const messages = [...requests, ...facts];
const settled = new Set(["created", "running", "paused", "stopped"]);
const distinguish = ({ pid, started, exit: end, early, witnessed, oomAt }: Record<string, unknown>) => [
	pid,
	started,
	end !== undefined,
	(early as readonly Exit[]).some((each) => each.pid === 7),
	witnessed !== undefined,
	oomAt,
];
const paths = walk(taskMachine, input, messages, distinguish);

const published = (path: Path): string[] =>
	ordersOf(path)
		.map(({ type }) => type)
		.filter((type) => type.startsWith("publish"));

/** The promise of the machine's docstring, about everything that was published along a path. */
function checkPublished(path: Path): void {
	const events = published(path);
	const at = (type: string): number => events.indexOf(type);
	const where = `${events} (${describePath(path)})`;
	for (const once of ["publishCreate", "publishStart", "publishExit", "publishDelete"])
		assert.ok(events.filter((type) => type === once).length <= 1, `${once} twice: ${where}`);
	if (events.length > 0) assert.equal(at("publishCreate"), 0, `something before create: ${where}`);
	if (at("publishStart") > 0 && at("publishExit") > 0)
		assert.ok(at("publishStart") < at("publishExit"), `exit before start: ${where}`);
	if (at("publishDelete") > 0) {
		assert.ok(at("publishExit") > 0, `deleted without an exit: ${where}`);
		assert.equal(at("publishDelete"), events.length - 1, `something after delete: ${where}`);
	}
	const last = path.at(-1)?.to;
	assert.equal(
		at("publishExit") >= 0,
		last?.context.exit !== undefined,
		`the record's exit and the published one differ: ${where}`,
	);
}

test("events are told once and in order on every path", () => {
	assert.ok(paths.length > 3_000, `only ${paths.length} paths`);
	for (const path of paths) checkPublished(path);
});

test("every state of the drawing is reached", () => {
	const reached = new Set(paths.flatMap((path) => path.map(({ to }) => stateOf(to))));
	assert.deepEqual(
		[...reached].sort(),
		Object.keys(taskMachine.states)
			.filter((name) => reached.has(name) || name === "new")
			.sort(),
	);
	for (const name of Object.keys(taskMachine.states)) assert.ok(reached.has(name), `${name} is never reached`);
});

test("an exit of the init is never lost: it is told at once, or kept and told after the answer that must come first", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (last?.message !== path.at(-1)?.message || last?.message.type !== "process.exited") continue;
		if (last.message.pid !== 7 || last.to.status !== "active") continue;
		const state = stateOf(last.from);
		if (state === "discarding") continue; // nothing of it was ever told to anyone
		const { exit: told, early, vanished } = last.to.context as { exit?: Exit; early: readonly Exit[]; vanished?: Exit };
		assert.ok(
			told !== undefined || early.some(({ pid }) => pid === 7) || vanished?.pid === 7,
			`exit lost in ${state} (${describePath(path)})`,
		);
		if (told !== undefined || state === "creating" || stateOf(last.to) === "vanished") continue;
		for (const outcome of facts) {
			const after = step(taskMachine, last.to, outcome);
			if (stateOf(after.to) === state) continue;
			assert.ok(
				after.orders.some(({ type }) => type === "publishExit"),
				`kept exit lost by ${outcome.type} in ${state}`,
			);
		}
	}
});

test("an exit before the answer to create is told when the pid is known to be its own", () => {
	const path = replay(taskMachine, input, [
		{ type: "create", request: "new" },
		stale,
		exit,
		{ type: "shim.created", pid: 7, shim: "shard-1" },
	]);
	assert.deepEqual(published(path), ["publishCreate", "publishExit"]);
	assert.deepEqual(path.at(-1)?.to.context.exit, { pid: 7, exitStatus: 3, exitedAt: 100n });
});

test("an exit that no shim knows the status of is the witness's to tell, and said to be unknown where that has none", () => {
	const running = [
		{ type: "create", request: "new" },
		{ type: "shim.created", pid: 7, shim: "shard-1" },
		{ type: "start", request: "new" },
		{ type: "shim.started" },
	];
	const unknown = { ...exit, exitStatus: 255, unknown: true };
	const seen = { ...exit, type: "witness.exited", known: true };
	const told = (...messages: Message[]) =>
		replay(taskMachine, input, [...running, ...messages]).at(-1)?.to.context.exit;
	assert.equal(told(unknown), undefined);
	for (const messages of [
		[unknown, seen],
		[seen, unknown],
		[unknown, unknown, seen],
		[unknown, exit],
	])
		assert.deepEqual(told(...messages), { pid: 7, exitStatus: 3, exitedAt: 100n });
	for (const end of [{ ...seen, known: false }, { type: "deadline.passed", name: "witness" }, { type: "restored" }])
		assert.deepEqual(told(unknown, end), { pid: 7, exitStatus: 255, exitedAt: 100n, unknown: true });
});

test("an exit of an older container of the same id is not its own", () => {
	const path = replay(taskMachine, input, [
		{ type: "create", request: "new" },
		stale,
		{ type: "shim.created", pid: 7, shim: "shard-1" },
		stale,
		{ type: "start", request: "new" },
		stale,
		{ type: "shim.started", pid: 7 },
		stale,
	]);
	assert.equal(stateOf(path.at(-1)?.to as never), "running");
	assert.deepEqual(published(path), ["publishCreate", "publishStart"]);
});

test("a repeated exit changes nothing", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (last === undefined || last.to.status !== "active" || last.to.context.exit === undefined) continue;
		const again = step(taskMachine, last.to, exit);
		assert.deepEqual([again.to.value, again.to.context, again.orders], [last.to.value, last.to.context, []]);
	}
});

test("every request is answered at most once, and each wait ends with an answer", () => {
	for (const path of paths) {
		checkAnswers(path);
		const last = path.at(-1);
		if (last === undefined) continue;
		const { asked } = last.to.context as { asked: string };
		if (asked === "" || !(settled.has(stateOf(last.to)) || last.to.status === "done")) continue;
		assert.ok(
			ordersOf(path).some(({ type, params }) => (type === "reply" || type === "refuse") && params.request === asked),
			`${asked} has no answer in ${stateOf(last.to)} (${describePath(path)})`,
		);
	}
});

test("every waiting state has a deadline with an outcome, and no other has one", () => {
	for (const path of paths) checkDeadlines(taskMachine, path, settled);
});

test("no state holds a request that it could take", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (last === undefined || last.to.status !== "active") continue;
		for (const type of stashOf(last.to))
			assert.equal(
				last.to.can({ type, request: "r", signal: 9, all: false } as never),
				false,
				`${stateOf(last.to)} holds ${type}, which it takes`,
			);
	}
});

test("restored in any state it asks the shim or ends what cannot go on", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (last === undefined || last.to.status !== "active") continue;
		const after = stateOf(step(taskMachine, last.to, { type: "restored" }).to);
		assert.ok(["reconciling", "stopped", "discarding", "deleted"].includes(after), `${stateOf(last.to)} → ${after}`);
	}
});

test("random walks keep the promises too", () => {
	fc.assert(
		fc.property(fc.array(fc.constantFrom(...messages), { maxLength: 40 }), (walked) => {
			const path = replay(taskMachine, input, [{ type: "create", request: "new" }, ...walked]);
			const ended = path.findIndex(({ to }) => to.status !== "active");
			const living = ended < 0 ? path : path.slice(0, ended + 1);
			checkPublished(living);
			checkAnswers(living);
			checkDeadlines(taskMachine, living, settled);
		}),
		{ numRuns: 2_000 },
	);
});
