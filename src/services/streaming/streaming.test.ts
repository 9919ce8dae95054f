import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamInit } from "../../gen/containerd/services/streaming/v1/streaming.ts";
import { Call } from "../call.ts";
import type { AnyValue } from "../wire.ts";
import { StreamRegistry } from "./stream-registry.ts";
import { streamingService } from "./streaming.service.ts";

const text = (typeUrl: string): AnyValue => ({ typeUrl, value: new Uint8Array([1]) });
const init = (id: string): AnyValue => ({
	typeUrl: "containerd.services.streaming.v1.StreamInit",
	value: StreamInit.encode({ id }).finish(),
});

function open(streams: StreamRegistry, requests: AsyncIterable<AnyValue>, signal = new AbortController().signal) {
	const [method] = streamingService(streams).methods;
	assert.ok(method);
	const call = new Call({ metadata: new Map([["containerd-namespace", "a"]]), signal });
	return (method.handler(requests, call) as AsyncIterable<AnyValue>)[Symbol.asyncIterator]();
}

async function* of(...values: AnyValue[]) {
	yield* values;
}

test("a stream can be used by its id once its first answer is there, in its own namespace only", async () => {
	const streams = new StreamRegistry();
	const answers = open(streams, of(init("p"), text("hello")));
	assert.equal((await answers.next()).value.typeUrl, "google.protobuf.Empty");
	assert.throws(() => streams.get("b", "p"), /not found/);
	const stream = streams.get("a", "p");
	const next = answers.next();
	await stream.send(text("progress"));
	assert.equal((await next).value.typeUrl, "progress");
	assert.equal((await stream.receive())?.typeUrl, "hello");
	assert.equal(await stream.receive(), undefined);
	stream.close();
	assert.equal((await answers.next()).done, true);
	assert.throws(() => streams.get("a", "p"), /not found/);
});

test("an id is taken once, and must not be empty", async () => {
	const streams = new StreamRegistry();
	await open(streams, of(init("p"))).next();
	await assert.rejects(open(streams, of(init("p"))).next(), { code: "AlreadyExists" });
	await assert.rejects(open(streams, of(init(""))).next(), { code: "InvalidArgument" });
	await assert.rejects(open(streams, of(text("x"))).next(), { code: "InvalidArgument" });
	await assert.rejects(open(streams, of()).next(), { code: "InvalidArgument" });
});

test("who sends to a client that is gone is told so", async () => {
	const streams = new StreamRegistry();
	const client = new AbortController();
	const answers = open(streams, of(init("p")), client.signal);
	await answers.next();
	const stream = streams.get("a", "p");
	const ended = answers.next();
	client.abort();
	assert.equal((await ended).done, true);
	await assert.rejects(stream.send(text("late")), { code: "Unavailable" });
});

test("a client that does not read is refused more, not buffered without bound", async () => {
	const streams = new StreamRegistry();
	const answers = open(streams, of(init("p")));
	await answers.next();
	const stream = streams.get("a", "p");
	const sent = Array.from({ length: 300 }, () =>
		stream.send(text("x")).then(
			() => "taken",
			(error) => error.code,
		),
	);
	stream.close();
	while ((await answers.next()).done !== true);
	const outcomes = await Promise.all(sent);
	assert.equal(outcomes.filter((outcome) => outcome === "taken").length, 256);
	assert.equal(outcomes.filter((outcome) => outcome === "ResourceExhausted").length, 44);
});
