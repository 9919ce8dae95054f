import type { JournalRecord, Value } from "../metadata/store/store.ts";
import { decodePayload } from "./event-payload.ts";
import { type JsonValue, jsonOf, rfc3339 } from "./json-value.ts";

/** Type of a CloudEvent that tells of an actor's step; its data has `from`, `to` and `message`. */
export const transitionType = "troupe.actor.transition";

/**
 * A journal record as a CloudEvent (https://github.com/cloudevents/spec, JSON format 1.0). `id` and the extension
 * `sequence` are the record's sequence number: a reader that comes back asks for what follows it. `subject` is the topic or
 * the actor's path; the extension `namespace` is left out where there is none. A payload of unknown type is `data_base64`.
 */
export function cloudEvent(record: JournalRecord): { [name: string]: JsonValue } {
	const seq = String(record.seq);
	return {
		specversion: "1.0",
		id: seq,
		source: "/troupe",
		subject: record.subject,
		time: rfc3339(record.time),
		...(record.namespace === "" ? {} : { namespace: record.namespace }),
		sequence: seq,
		sequencetype: "Integer",
		...(record.kind === "event" ? payload(record.body) : transition(record.body)),
	};
}

const transition = (body: Value): { [name: string]: JsonValue } => ({
	type: transitionType,
	datacontenttype: "application/json",
	data: jsonOf(body),
});

function payload(body: Value): { [name: string]: JsonValue } {
	if (!isAny(body)) return { type: "unknown", datacontenttype: "application/json", data: jsonOf(body) };
	const data = decodePayload(body.typeUrl, body.value);
	return data === undefined
		? { type: body.typeUrl, datacontenttype: "application/octet-stream", data_base64: jsonOf(body.value) }
		: { type: body.typeUrl, datacontenttype: "application/json", data };
}

const isAny = (body: Value): body is { typeUrl: string; value: Uint8Array } =>
	typeof body === "object" &&
	body !== null &&
	"typeUrl" in body &&
	typeof body.typeUrl === "string" &&
	"value" in body &&
	body.value instanceof Uint8Array;

/** What the stream itself says to a reader. It has no place in the journal, so its id is not a number. */
export const notice = (
	name: "troupe.stream.behind" | "troupe.stream.trimmed" | "troupe.stream.ended",
	data: { [field: string]: JsonValue },
): string => JSON.stringify({ specversion: "1.0", id: name, source: "/troupe", type: name, data });
