import type { Envelope } from "../../gen/containerd/types/event.ts";
import { type FieldOf, textField } from "../../metadata/filter.ts";
import { decodePayload } from "../../stream/event-payload.ts";

/**
 * The fields that a Subscribe filter may name: `topic`, `namespace`, and `event.<field>` of the payload, in the names of the
 * .proto files (`event.container_id`). Payloads are decoded only for filters that ask.
 */
export const eventField =
	({ namespace, topic, event }: Envelope): FieldOf =>
	([field, ...path]) => {
		switch (field) {
			case "topic":
				return textField(topic);
			case "namespace":
				return textField(namespace);
			case "event":
				return event === undefined ? undefined : payloadField(decodePayload(event.typeUrl, event.value), path);
			default:
				return undefined;
		}
	};

function payloadField(payload: unknown, path: readonly string[]): string | undefined {
	let value = payload;
	for (const [index, name] of path.entries()) {
		if (typeof value !== "object" || value === null) return undefined;
		// The rest of the path may be one key of a map of labels, which has dots of its own.
		const fields = value as Record<string, unknown>;
		const rest = path.slice(index).join(".");
		if (typeof fields[rest] === "string") return fields[rest];
		value = fields[camelCase(name)];
	}
	switch (typeof value) {
		case "string":
			return textField(value);
		case "number":
		case "boolean":
			return String(value);
		default:
			return undefined;
	}
}

const camelCase = (name: string): string =>
	name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
