import { DaemonError } from "../../errors/daemon-error.ts";
import { EventsDefinition } from "../../gen/containerd/services/events/v1/events.ts";
import {
	type ForwardRequest,
	EventsDefinition as TtrpcEventsDefinition,
} from "../../gen/containerd/services/ttrpc/events/v1/events.ts";
import type { Envelope } from "../../gen/containerd/types/event.ts";
import { parseFilters } from "../../metadata/filter.ts";
import { identifier } from "../../metadata/identifier.ts";
import type { JournalRecord, Store } from "../../metadata/store/store.ts";
import { type Service, service } from "../rpc.ts";
import { fromAny, required, toTimestamp } from "../wire.ts";
import { eventField } from "./event-field.ts";
import { followJournal } from "./journal-cursor.ts";
import { topic } from "./topic.ts";

/**
 * Takes what shims tell about their tasks. Resolves, with true, once the fact and the events that it causes are durable;
 * with false at once if the envelope is none of its business.
 */
export type TaskFacts = (envelope: Envelope) => Promise<boolean>;

/**
 * containerd.services.events.v1.Events. Publish and Forward answer when the event is durable. Subscribe tells what happens
 * from the call on, in every namespace (clients filter); nothing is lost for a slow subscriber.
 */
export const eventService = (store: Store, taskFacts: TaskFacts): Service =>
	service(EventsDefinition, {
		async publish({ topic: name, event }, { namespace }) {
			await record(store, namespace, topic(name), required(fromAny(event), "event", "event"));
			return {};
		},
		forward: (request) => forward(store, taskFacts, request),
		async *subscribe({ filters }, { signal }) {
			const matches = parseFilters(filters);
			for await (const entry of followJournal(store.journal, store.journal.last, signal)) {
				const envelope = toEnvelope(entry);
				if (envelope !== undefined && matches(eventField(envelope))) yield envelope;
			}
		},
	});

/** containerd.services.events.ttrpc.v1.Events: how shims report. The answer is the acknowledgement. */
export const eventForwardService = (store: Store, taskFacts: TaskFacts): Service =>
	service(TtrpcEventsDefinition, { forward: (request) => forward(store, taskFacts, request) });

async function forward(store: Store, taskFacts: TaskFacts, request: ForwardRequest): Promise<Record<string, never>> {
	const envelope = required(request.envelope, "event", "envelope");
	identifier("namespace", envelope.namespace);
	topic(envelope.topic);
	if (envelope.timestamp === undefined)
		throw new DaemonError("InvalidArgument", { kind: "event", id: envelope.topic }, "timestamp must be set");
	const event = required(fromAny(envelope.event), "event", "event");
	if (!(await taskFacts(envelope))) await record(store, envelope.namespace, envelope.topic, event);
	return {};
}

const record = (store: Store, namespace: string, subject: string, event: { typeUrl: string; value: Uint8Array }) =>
	store.update((tx) => tx.record({ kind: "event", namespace, subject, body: { ...event } }));

/** An event of the journal as it leaves the daemon; undefined for a record that is none. */
function toEnvelope({ kind, namespace, subject, time, body }: JournalRecord): Envelope | undefined {
	if (kind !== "event") return undefined;
	const event = body as { readonly typeUrl: string; readonly value: Uint8Array };
	return { timestamp: toTimestamp(time), namespace, topic: subject, event };
}
