import assert from "node:assert/strict";
import { test } from "node:test";
import { shimLinkLimits, shimLinkMachine } from "./shim-link.machine.ts";
import {
	checkAnswers,
	checkDeadlines,
	describePath,
	type Message,
	ordersOf,
	replay,
	stateOf,
	walk,
} from "./walk.test-fixture.ts";

const input = {
	kind: "shard",
	namespace: "default",
	shim: "shard-1",
	runtime: "io.containerd.troupe.v2",
	address: "",
	pid: 0,
	bundle: "",
	group: "",
	options: new Uint8Array(),
};
const messages: readonly Message[] = [
	{ type: "connect", request: "new" },
	{ type: "retire", request: "new" },
	{ type: "shim.booted", address: "unix:///run/s", version: 3, pid: 5 },
	{ type: "boot.failed", code: "Unknown", problem: "no" },
	{ type: "link.up", pid: 5 },
	{ type: "link.failed", dead: true, problem: "refused" },
	{ type: "link.failed", dead: false, problem: "slow" },
	{ type: "link.down" },
	{ type: "estate.settled" },
	{ type: "estate.refused", problem: "no standby" },
	{ type: "restored" },
	{ type: "request.cancelled", request: "connect#0" },
	...Object.keys(shimLinkLimits).map((name) => ({ type: "deadline.passed", name })),
];
const settled = new Set(["new", "connected"]);
const paths = walk(shimLinkMachine, input, messages, ({ failures, address, waiting }) => [
	failures,
	address,
	(waiting as unknown[]).length > 0,
]);

test("every state of the drawing is reached", () => {
	const reached = new Set(paths.flatMap((path) => path.flatMap(({ from, to }) => [stateOf(from), stateOf(to)])));
	for (const name of Object.keys(shimLinkMachine.states)) assert.ok(reached.has(name), `${name} is never reached`);
});

test("every waiting state has a deadline with an outcome, and no other has one", () => {
	for (const path of paths) checkDeadlines(shimLinkMachine, path, settled);
});

test("every request is answered at most once, and none is open when the link is gone", () => {
	for (const path of paths) {
		checkAnswers(path);
		const last = path.at(-1);
		if (last === undefined || last.to.status === "active") continue;
		const answers = ordersOf(path).map(({ params }) => params.request);
		for (const { message, from, orders } of path) {
			const withdrawn = path.some((each) => each.message.type === "request.cancelled");
			if (message.type !== "connect" || (orders.length === 0 && stateOf(from) === "gone") || withdrawn) continue;
			assert.ok(answers.includes(message.request), `${message.request} is open (${describePath(path)})`);
		}
	}
});

test("a shim that was connected is not given up before its containers have an heir or a grave", () => {
	for (const path of paths) {
		if (!path.some(({ to }) => stateOf(to) === "connected")) continue;
		const last = path.at(-1);
		if (last === undefined || stateOf(last.to) !== "gone" || stateOf(last.from) === "gone") continue;
		const retired = path.some(({ to }) => stateOf(to) === "retiring");
		const settledBefore = path.some(({ message }) => message.type === "estate.settled");
		assert.ok(retired || settledBefore, describePath(path));
	}
});

test("a connection that ends is made again at once, and a living shim gets several tries", () => {
	const slow = { type: "link.failed", dead: false, problem: "slow" };
	const tries = Array.from({ length: shimLinkLimits.attempts - 1 }, () => [
		slow,
		{ type: "deadline.passed", name: "backoff" },
	]).flat();
	const path = replay(shimLinkMachine, input, [
		{ type: "connect", request: "new" },
		{ type: "shim.booted", address: "unix:///run/s", version: 3, pid: 5 },
		{ type: "link.up", pid: 5 },
		{ type: "link.down" },
		...tries,
	]);
	assert.equal(stateOf(path.at(-1)?.to as never), "connecting");
	const pauses = ordersOf(path).filter(({ type, params }) => type === "setDeadline" && params.name === "backoff");
	assert.deepEqual(
		pauses.map(({ params }) => params.ms),
		[100, 200, 400, 800, 1600],
	);
});

test("a dead shim is given up at the first refusal", () => {
	const path = replay(shimLinkMachine, { ...input, address: "unix:///run/s" }, [
		{ type: "connect", request: "new" },
		{ type: "link.failed", dead: true, problem: "refused" },
	]);
	assert.equal(stateOf(path.at(-1)?.to as never), "lost");
	assert.ok(path.at(-1)?.orders.some(({ type }) => type === "settleEstate"));
});

test("a shard that dies while it is asked to end leaves an estate like any other; a foreign shim has nothing left", () => {
	const dies = (kind: "shard" | "binary") =>
		replay(shimLinkMachine, { ...input, kind, address: kind === "shard" ? "unix:///s" : "" }, [
			{ type: "connect", request: "new" },
			...(kind === "binary" ? [{ type: "shim.booted", address: "unix:///x", version: 2, pid: 0 }] : []),
			{ type: "link.up", pid: 1 },
			{ type: "retire", request: "new" },
			{ type: "link.down" },
		]).at(-1);
	assert.equal(stateOf(dies("shard")?.to as never), "lost");
	assert.ok(dies("shard")?.orders.some(({ type }) => type === "settleEstate"));
	assert.equal(dies("binary")?.to.status, "done");
});
