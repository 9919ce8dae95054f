import assert from "node:assert/strict";
import { test } from "node:test";
import { NamespaceCreate } from "../../gen/containerd/events/namespace.ts";
import { TaskExit } from "../../gen/containerd/events/task.ts";
import { EventsDefinition } from "../../gen/containerd/services/events/v1/events.ts";
import type { Envelope } from "../../gen/containerd/types/event.ts";
import { memoryStore } from "../../metadata/store/memory-store.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { eventService } from "./event.service.ts";

const exit = {
	typeUrl: "containerd.events.TaskExit",
	value: TaskExit.encode(TaskExit.fromPartial({ containerId: "web", id: "web", pid: 7, exitStatus: 3 })).finish(),
};

function exchange(taskFacts: (envelope: Envelope) => Promise<boolean> = async () => false) {
	const store = memoryStore();
	return directClient(EventsDefinition, eventService(store, taskFacts));
}

test("a published event reaches every subscriber, whatever its namespace, with its bytes unchanged", async () => {
	const events = exchange();
	const seen = events.subscribe({ filters: [] })[Symbol.asyncIterator]();
	const next = seen.next();
	await events.publish(
		{ topic: "/custom/topic", event: { typeUrl: "strange/type", value: new Uint8Array([9, 8]) } },
		"a",
	);
	const { value } = await next;
	assert.equal(value?.namespace, "a");
	assert.equal(value?.topic, "/custom/topic");
	assert.deepEqual(value?.event, { typeUrl: "strange/type", value: new Uint8Array([9, 8]) });
	assert.ok((value?.timestamp?.seconds ?? 0n) > 0n);
	await seen.return?.();
});

for (const [filter, expected] of [
	['topic=="/tasks/exit"', ["/tasks/exit"]],
	["topic~=/^.namespaces/", ["/namespaces/create"]],
	["event.container_id==web", ["/tasks/exit"]],
	["event.exit_status==3", ["/tasks/exit"]],
	["event.name==n", ["/namespaces/create"]],
	['event.labels."a.b"==c', ["/namespaces/create"]],
	["namespace==a", ["/tasks/exit"]],
	["namespace==other", []],
] as const)
	test(`a subscriber with filter ${filter} sees ${expected.join(", ") || "nothing else"}`, async () => {
		const events = exchange();
		const seen = events.subscribe({ filters: [filter, 'topic=="/end"'] })[Symbol.asyncIterator]();
		const first = seen.next();
		await events.publish({ topic: "/tasks/exit", event: exit }, "a");
		const value = NamespaceCreate.encode({ name: "n", labels: { "a.b": "c" } }).finish();
		await events.publish(
			{ topic: "/namespaces/create", event: { typeUrl: "containerd.events.NamespaceCreate", value } },
			"b",
		);
		await events.publish({ topic: "/end", event: exit }, "c");
		const topics: string[] = [];
		for (let result = await first; result.done !== true && result.value.topic !== "/end"; result = await seen.next())
			topics.push(result.value.topic);
		assert.deepEqual(topics, expected);
		await seen.return?.();
	});

test("what the task actors take is not recorded a second time", async () => {
	const taken: string[] = [];
	const events = exchange(async ({ topic }) => {
		taken.push(topic);
		return topic === "/tasks/exit";
	});
	const seen = events.subscribe({ filters: [] })[Symbol.asyncIterator]();
	const next = seen.next();
	const timestamp = { seconds: 1n, nanos: 0 };
	await events.forward({ envelope: { timestamp, namespace: "a", topic: "/tasks/exit", event: exit } });
	await events.forward({ envelope: { timestamp, namespace: "a", topic: "/tasks/start", event: exit } });
	assert.deepEqual(taken, ["/tasks/exit", "/tasks/start"]);
	assert.equal((await next).value?.topic, "/tasks/start");
	await seen.return?.();
});

test("topics, namespaces and times are checked", async () => {
	const events = exchange();
	for (const topic of ["", "x", "/", "/a//b", "/a/?"])
		await assert.rejects(events.publish({ topic, event: exit }, "a"), { code: "InvalidArgument" }, topic);
	await assert.rejects(events.publish({ topic: "/x", event: undefined }, "a"), { code: "InvalidArgument" });
	await assert.rejects(events.publish({ topic: "/x", event: exit }), { code: "FailedPrecondition" });
	const timestamp = { seconds: 1n, nanos: 0 };
	for (const envelope of [
		undefined,
		{ timestamp: undefined, namespace: "a", topic: "/x", event: exit },
		{ timestamp, namespace: "", topic: "/x", event: exit },
		{ timestamp, namespace: "a", topic: "x", event: exit },
	])
		await assert.rejects(events.forward({ envelope }), { code: "InvalidArgument" });
	await assert.rejects(
		events
			.subscribe({ filters: ["=="] })
			[Symbol.asyncIterator]()
			.next(),
		{ code: "InvalidArgument" },
	);
});
