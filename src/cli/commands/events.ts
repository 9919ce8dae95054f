import { DaemonError } from "../../errors/daemon-error.ts";
import { messageType, stateText } from "../actor-node.ts";
import { followJson } from "../http-connection.ts";
import type { Target } from "../target.ts";

export interface EventsOptions {
	readonly follow?: boolean;
	readonly since?: string;
	readonly topic: readonly string[];
	readonly actor: readonly string[];
	readonly transitions?: boolean;
	readonly allNamespaces?: boolean;
}

/**
 * `troupe events`: what the journal keeps (since a record of it), and with `follow` what happens from there on; with
 * `follow` alone only the latter.
 */
export async function events(target: Target, options: EventsOptions): Promise<void> {
	const follow = options.follow === true;
	let since = options.since ?? (follow ? undefined : "0");
	for (;;) {
		const query = new URLSearchParams({ follow: String(follow), ...(since === undefined ? {} : { since }) });
		// transitions belong to actors of all namespaces: a filter by namespace would hide the daemon's own
		if (options.allNamespaces !== true && options.transitions !== true) query.append("namespace", target.namespace);
		for (const topic of options.topic) query.append("topic", topic);
		for (const actor of options.actor) query.append("actor", actor);
		if (options.transitions !== true && options.topic.length === 0 && options.actor.length === 0)
			query.append("topic", "/");
		let behind = false;
		for await (const event of followJson(target, `/v1/stream?${query}`)) {
			if (!isCloudEvent(event)) throw new DaemonError("Internal", { kind: "stream", id: "/v1/stream" }, "not an event");
			if (event.type === "troupe.stream.behind") behind = true;
			else since = event.sequence ?? since;
			process.stdout.write(`${target.output === "json" ? JSON.stringify(event) : lineOf(event)}\n`);
		}
		if (!behind) {
			if (!follow) return;
			throw new DaemonError(
				"Unavailable",
				{ kind: "daemon", id: target.address },
				"the stream has ended; the daemon was stopped",
			);
		}
	}
}

interface CloudEvent {
	readonly id: string;
	readonly type: string;
	readonly sequence?: string;
	readonly time?: string;
	readonly namespace?: string;
	readonly subject?: string;
	readonly data?: unknown;
	readonly data_base64?: string;
}

const isCloudEvent = (value: unknown): value is CloudEvent =>
	typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";

/** One line: number, time, namespace, topic or actor, what happened. */
function lineOf(event: CloudEvent): string {
	const head = [event.sequence ?? "-", event.time ?? "", event.namespace ?? "-", event.subject ?? event.type].join(" ");
	if (event.type !== "troupe.actor.transition")
		return `${head} ${event.data === undefined ? (event.data_base64 ?? "") : JSON.stringify(event.data)}`;
	const { from, to, message } = event.data as { from: unknown; to: unknown; message: unknown };
	return `${head} ${stateText(from)} -> ${stateText(to)} (${messageType(message)})`;
}
