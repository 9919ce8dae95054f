import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { DaemonError } from "../src/errors/daemon-error.ts";
import { EventsDefinition } from "../src/gen/containerd/services/ttrpc/events/v1/events.ts";
import { implementation, serve } from "../src/ttrpc/server.ts";
import { Publisher, type Report } from "./publisher.ts";

const directory = mkdtempSync(join(tmpdir(), "troupe-publisher-"));
after(() => rmSync(directory, { recursive: true }));

const report = (topic: string, acknowledged?: () => void): Report => ({
	namespace: "n",
	topic,
	event: { typeUrl: "x", value: new Uint8Array(0) },
	at: 0n,
	...(acknowledged === undefined ? {} : { acknowledged }),
});

/** A daemon that answers each topic with what `outcome` says. */
async function daemon(name: string, outcome: (topic: string) => void) {
	const seen: string[] = [];
	const path = join(directory, name);
	const server = await serve(path, [
		implementation(EventsDefinition, {
			forward: ({ envelope }) => {
				seen.push(envelope?.topic ?? "");
				outcome(envelope?.topic ?? "");
				return {};
			},
		}),
	]);
	return { path, seen, server };
}

const quick = { backoffMs: [5, 20] as const, timeoutMs: 1_000 };
const silent = () => {};

test("order is kept in a lane while a refusal is repeated; another lane does not wait", async () => {
	let refusals = 3;
	const { path, seen, server } = await daemon("order", (topic) => {
		if (topic === "/a1" && refusals-- > 0) throw new DaemonError("Unavailable", { kind: "x", id: "y" }, "not now");
	});
	const publisher = new Publisher(path, silent, quick);
	const acknowledged: string[] = [];
	for (const topic of ["/a1", "/a2", "/b1"])
		publisher.publish(
			topic.slice(1, 2),
			report(topic, () => acknowledged.push(topic)),
		);
	assert.equal(await publisher.flush(5_000), 0);
	assert.deepEqual(
		acknowledged.filter((topic) => topic !== "/b1"),
		["/a1", "/a2"],
	);
	assert.ok(acknowledged.indexOf("/b1") < acknowledged.indexOf("/a1"));
	assert.equal(seen.filter((topic) => topic === "/a1").length, 4);
	await publisher.close();
	await server.close();
});

test("nobody there: reports wait, the undroppable ones for ever, and a flush delivers them", async () => {
	const path = join(directory, "later");
	const publisher = new Publisher(path, silent, { backoffMs: [60_000, 60_000], maximumWaiting: 3 });
	publisher.publish(
		"a",
		report("/exit", () => {}),
	);
	for (let index = 0; index < 10; index++) publisher.publish("a", report(`/droppable${index}`));
	publisher.publish(
		"a",
		report("/exit2", () => {}),
	);
	assert.equal(publisher.pending, 3);
	const { seen, server } = await daemon("later", () => {});
	while (publisher.pending > 0) await publisher.flush(50);
	assert.deepEqual(seen, ["/exit", "/droppable9", "/exit2"]);
	await publisher.close();
	await server.close();
});

test("a report that the daemon calls invalid does not block its lane for ever", async () => {
	const { path, seen, server } = await daemon("invalid", (topic) => {
		if (topic === "/bad") throw new DaemonError("InvalidArgument", { kind: "event", id: topic }, "no");
	});
	const publisher = new Publisher(path, silent, quick);
	publisher.publish("a", report("/bad"));
	publisher.publish("a", report("/good"));
	assert.equal(await publisher.flush(5_000), 0);
	assert.deepEqual(seen, ["/bad", "/good"]);
	await publisher.close();
	await server.close();
});
