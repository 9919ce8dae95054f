import assert from "node:assert/strict";
import { test } from "node:test";
import { layerLimits, layerMachine } from "./layer.machine.ts";
import { checkAnswers, checkDeadlines, type Message, ordersOf, replay, stateOf, walk } from "./walk.test-fixture.ts";

const input = { digest: "sha256:a", diffId: "sha256:d", unpack: true };
const refusal = { code: "Unavailable", problem: "reset" };
const messages: readonly Message[] = [
	{ type: "want", request: "new" },
	{ type: "layer.present" },
	{ type: "blob.present" },
	{ type: "blob.missing", offset: 0 },
	{ type: "bytes.arrived", offset: 5 },
	{ type: "blob.committed" },
	{ type: "fetch.broke", offset: 5, retry: true, ...refusal },
	{ type: "fetch.broke", offset: 5, retry: false, ...refusal },
	{ type: "layer.unpacked", diffId: "sha256:d" },
	{ type: "layer.unpacked", diffId: "sha256:other" },
	{ type: "unpack.failed", ...refusal },
	{ type: "work.stopped" },
	{ type: "request.cancelled", request: "want#0" },
	...["look", "stall", "abandon", "backoff", "unpack", "stop"].map((name) => ({ type: "deadline.passed", name })),
];
const walkOf = (unpack: boolean) =>
	walk(layerMachine, { ...input, unpack }, messages, ({ offset, failures, wanted, refusal: why }) =>
		[offset, failures, (wanted as unknown[]).length, why !== undefined].map((part) =>
			typeof part === "number" ? Math.min(part, 2) : part,
		),
	);
const paths = [...walkOf(true), ...walkOf(false)];

test("every state of the drawing is reached", () => {
	const reached = new Set(paths.flatMap((path) => path.flatMap(({ from, to }) => [stateOf(from), stateOf(to)])));
	for (const name of Object.keys(layerMachine.states)) assert.ok(reached.has(name), `${name} is never reached`);
});

test("every waiting state has a deadline with an outcome", () => {
	for (const path of paths) checkDeadlines(layerMachine, path, new Set(["new"]));
});

test("all who want a layer are answered once, when it ends", () => {
	for (const path of paths) {
		checkAnswers(path);
		const last = path.at(-1);
		if (last === undefined || last.to.status === "active") continue;
		const answers = ordersOf(path).filter(({ type }) => type === "reply" || type === "refuse");
		const kind = stateOf(last.to) === "ready" ? "reply" : "refuse";
		assert.ok(answers.every(({ type }) => type === kind));
		assert.equal(answers.length, (last.to.context.wanted as unknown[]).length);
	}
});

test("two who want it share one download", () => {
	const path = replay(layerMachine, input, [
		{ type: "want", request: "new" },
		{ type: "blob.missing", offset: 0 },
		{ type: "want", request: "new" },
		{ type: "blob.committed" },
		{ type: "layer.unpacked", diffId: "sha256:d" },
	]);
	assert.equal(ordersOf(path).filter(({ type }) => type === "fetchBlob").length, 1);
	assert.deepEqual(
		ordersOf(path)
			.filter(({ type }) => type === "reply")
			.map(({ params }) => params.request),
		["want#0", "want#2"],
	);
});

test("a broken download goes on from its offset, a bounded number of times while nothing arrives", () => {
	const broke = [
		{ type: "fetch.broke", offset: 5, retry: true, ...refusal },
		{ type: "deadline.passed", name: "backoff" },
	];
	const path = replay(layerMachine, input, [
		{ type: "want", request: "new" },
		{ type: "blob.missing", offset: 0 },
		...Array.from({ length: layerLimits.downloads }, () => broke).flat(),
	]);
	const offsets = ordersOf(path)
		.filter(({ type }) => type === "fetchBlob")
		.map(({ params }) => params.offset);
	assert.deepEqual(offsets, [0, 5, 5, 5, 5]);
	assert.equal(stateOf(path.at(-1)?.to as never), "failing");
	const moving = replay(layerMachine, input, [
		{ type: "want", request: "new" },
		{ type: "blob.missing", offset: 0 },
		...Array.from({ length: 20 }, () => [...broke, { type: "bytes.arrived", offset: 9 }]).flat(),
	]);
	assert.equal(stateOf(moving.at(-1)?.to as never), "fetching");
});

test("it is stopped when the last who wanted it is gone, and not before", () => {
	const path = replay(layerMachine, input, [
		{ type: "want", request: "new" },
		{ type: "blob.missing", offset: 0 },
		{ type: "want", request: "new" },
		{ type: "request.cancelled", request: "want#0" },
		{ type: "request.cancelled", request: "want#2" },
	]);
	assert.deepEqual(
		path.slice(4).map(({ to }) => stateOf(to)),
		["fetching", "stopping"],
	);
});
