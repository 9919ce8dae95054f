import { DaemonError } from "../errors/daemon-error.ts";
import type { JournalRecord } from "../metadata/store/store.ts";

/**
 * What a reader of the stream asks for, from the query of its URL:
 * - `namespace=web` (may be repeated): only records of these namespaces.
 * - `topic=/tasks/exit` or `topic=/tasks` (repeated): only events with this topic or below it.
 * - `actor=/task-manager/default` (repeated): only transitions of this actor and those below it. With topics and actors
 *   both are sent; with neither, everything.
 * - `since=17`: first what the journal has after this sequence number. Without it, only what happens from now on.
 * - `follow=false`: end when everything that was durable at the time of the request has been sent.
 */
export interface StreamRequest {
	readonly since: number | undefined;
	readonly follow: boolean;
	readonly matches: (record: JournalRecord) => boolean;
}

const known = new Set(["namespace", "topic", "actor", "since", "follow"]);

/** Throws InvalidArgument for a parameter that is unknown or malformed: a filter that is not understood must not pass all. */
export function parseStreamRequest(query: URLSearchParams): StreamRequest {
	const refuse = (name: string, problem: string): DaemonError =>
		new DaemonError("InvalidArgument", { kind: "stream parameter", id: name }, problem);
	for (const name of query.keys()) if (!known.has(name)) throw refuse(name, `use ${[...known].join(", ")}`);
	const since = query.get("since");
	if (since !== null && !(/^[0-9]+$/.test(since) && Number.isSafeInteger(Number(since))))
		throw refuse("since", `"${since}" is not a sequence number`);
	const follow = query.get("follow") ?? "true";
	if (follow !== "true" && follow !== "false") throw refuse("follow", "use true or false");
	return {
		since: since === null ? undefined : Number(since),
		follow: follow === "true",
		matches: matcher(query.getAll("namespace"), query.getAll("topic"), query.getAll("actor")),
	};
}

function matcher(namespaces: string[], topics: string[], actors: string[]): StreamRequest["matches"] {
	const all = topics.length === 0 && actors.length === 0;
	return ({ namespace, kind, subject }) => {
		if (namespaces.length > 0 && !namespaces.includes(namespace)) return false;
		if (all) return true;
		return (kind === "event" ? topics : actors).some((prefix) => isBelow(subject, prefix));
	};
}

const isBelow = (path: string, prefix: string): boolean =>
	path === prefix || path.startsWith(prefix.endsWith("/") ? prefix : `${prefix}/`);
