import assert from "node:assert/strict";
import { test } from "node:test";
import type { ActorNode } from "../actor-node.ts";
import { drawing } from "./tree.ts";

const supervisor = (path: string): ActorNode => ({
	node: "supervisor",
	path,
	status: "running",
	restarts: 0,
	strategy: "one_for_one",
	intensity: 1,
	periodMs: 5000,
	children: 0,
});
const actor = (path: string, more: Partial<ActorNode> = {}): ActorNode =>
	({
		node: "actor",
		path,
		kind: "task",
		identity: { kind: "task", id: path },
		status: "running",
		durable: true,
		restarts: 0,
		state: "running",
		since: 1000,
		mailbox: { system: 0, user: 0, capacity: 1024 },
		stashed: 0,
		openRequests: 0,
		deadlines: [],
		processed: 0,
		busyMs: 0,
		transitions: [],
		...more,
	}) as ActorNode;

test("the tree shows parents, branches, states and what is unusual", () => {
	const nodes = [
		supervisor("/"),
		supervisor("/task-manager"),
		actor("/task-manager/web"),
		actor("/task-manager/stuck", {
			state: { starting: "asked" },
			mailbox: { system: 1, user: 2, capacity: 1024 },
			stashed: 1,
			restarts: 2,
			deadlines: [{ name: "start", due: 63_000 }],
			lastError: { code: "Unknown", object: { kind: "task", id: "stuck" }, problem: "no answer" },
		}),
		actor("/gc", { status: "backoff" }),
	];
	assert.deepEqual(drawing(nodes, 61_000), [
		"root  [one_for_one]",
		"├─ task-manager  [one_for_one]",
		"│  ├─ web  running  60s",
		"│  └─ stuck  starting.asked  60s  mailbox 3  stash 1  start due in 2s  restarts 2  ! no answer",
		"└─ gc  running  60s  (backoff)",
	]);
});

test("a name with a slash stands below the nearest node above it", () => {
	const nodes = [supervisor("/"), supervisor("/task-manager"), actor("/task-manager/default/web")];
	assert.deepEqual(drawing(nodes, 1000).at(-1), "   └─ default/web  running  0s");
});

test("a node whose parent is not listed is drawn as a root of its own", () => {
	assert.deepEqual(drawing([actor("/lost/child")], 1000), ["lost/child  running  0s"]);
});
