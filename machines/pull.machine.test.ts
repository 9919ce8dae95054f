import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { pullMachine } from "./pull.machine.ts";
import { checkAnswers, checkDeadlines, type Message, ordersOf, replay, stateOf, walk } from "./walk.test-fixture.ts";

const input = { reference: "docker.io/library/busybox:latest", unpack: true };
const layerOf = (name: string) => ({ digest: name, diffId: `d${name}`, chainId: `c${name}` });
const layers = ["a", "b", "c"].map(layerOf);
const refusal = { code: "NotFound", problem: "no such image" };
const opening: readonly Message[] = [
	{ type: "pull", request: "new" },
	{ type: "reference.resolved", target: "sha256:t" },
	{ type: "manifest.fetched", layers },
];
const messages: readonly Message[] = [
	...opening,
	{ type: "manifest.fetched", layers: [] },
	{ type: "layer.progressed" },
	...layers.flatMap((_, index) => [
		{ type: "layer.arrived", index },
		{ type: "snapshot.committed", index },
	]),
	{ type: "image.recorded" },
	{ type: "work.stopped" },
	{ type: "pull.failed", ...refusal },
	{ type: "request.cancelled", request: "pull#0" },
	...["resolve", "manifest", "layers", "commit", "record", "stop"].map((name) => ({ type: "deadline.passed", name })),
];
const walkOf = (unpack: boolean) =>
	walk(pullMachine, { ...input, unpack }, messages, ({ arrived, committed, wanted, refusal: why }) => [
		arrived,
		committed,
		Math.min((wanted as unknown[]).length, 1),
		why !== undefined,
	]);
const paths = [...walkOf(true), ...walkOf(false)];

test("every state of the drawing is reached", () => {
	const reached = new Set(paths.flatMap((path) => path.flatMap(({ from, to }) => [stateOf(from), stateOf(to)])));
	for (const name of [
		"resolving",
		"manifest",
		"layers.awaiting",
		"layers.committing",
		"recording",
		"stopping",
		"done",
		"failed",
	])
		assert.ok(reached.has(name), `${name} is never reached`);
});

test("every waiting state has a deadline with an outcome", () => {
	for (const path of paths) checkDeadlines(pullMachine, path, new Set(["new"]));
});

test("all who wait for an image are answered once, when the pull ends", () => {
	for (const path of paths) {
		checkAnswers(path);
		const last = path.at(-1);
		if (last === undefined || last.to.status === "active") continue;
		const answers = ordersOf(path).filter(({ type }) => type === "reply" || type === "refuse");
		assert.ok(answers.every(({ type }) => type === (stateOf(last.to) === "done" ? "reply" : "refuse")));
		assert.equal(answers.length, (last.to.context.wanted as unknown[]).length);
	}
});

test("in whatever order layers arrive, snapshots are committed in the order of the chain, one at a time", () => {
	fc.assert(
		fc.property(fc.shuffledSubarray([0, 1, 2], { minLength: 3 }), fc.infiniteStream(fc.boolean()), (order, coin) => {
			const arrivals = order.map((index) => ({ type: "layer.arrived", index }));
			const walked: Message[] = [...opening];
			const orders = () => ordersOf(replay(pullMachine, input, walked));
			const open = () => {
				const commits = orders().filter(({ type }) => type === "commitSnapshot").length;
				return commits - walked.filter(({ type }) => type === "snapshot.committed").length;
			};
			while (arrivals.length > 0 || open() > 0) {
				assert.ok(open() <= 1);
				const next = arrivals[0];
				if (next !== undefined && (open() === 0 || coin.next().value)) {
					walked.push(next);
					arrivals.shift();
				} else
					walked.push({
						type: "snapshot.committed",
						index: walked.filter(({ type }) => type === "snapshot.committed").length,
					});
			}
			const committed = orders()
				.filter(({ type }) => type === "commitSnapshot")
				.map(({ params }) => params.index);
			assert.deepEqual(committed, [0, 1, 2]);
			assert.equal(orders().filter(({ type }) => type === "recordImage").length, 1);
		}),
	);
});

test("the image is recorded only when every layer is there", () => {
	for (const path of paths) {
		const last = path.at(-1);
		if (!last?.orders.some(({ type }) => type === "recordImage")) continue;
		const { arrived, committed, unpack } = last.to.context as {
			arrived: boolean[];
			committed: number;
			unpack: boolean;
		};
		assert.ok(unpack ? committed === arrived.length : arrived.every((each) => each));
	}
});
