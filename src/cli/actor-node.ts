import type {
	ActorInspection,
	SupervisorInspection,
	TransitionRecord,
	WaitingMessage,
} from "../../actors/kernel/inspection.ts";
import { followJson, getJson } from "./http-connection.ts";
import type { Target } from "./target.ts";

export type ActorNode = ActorInspection | SupervisorInspection;

/** The daemon's actor tree, parents first, and the journal's newest record at that moment. */
export async function actorTree(target: Target): Promise<{ sequence: number; actors: ActorNode[] }> {
	return (await getJson(target, "/v1/actors")) as { sequence: number; actors: ActorNode[] };
}

export const actorNode = async (target: Target, path: string): Promise<ActorNode & { waiting: WaitingMessage[] }> =>
	(await getJson(target, `/v1/actors?path=${encodeURIComponent(path)}`)) as ActorNode & { waiting: WaitingMessage[] };

/** Transitions shown of an actor. */
const shownTransitions = 16;

/**
 * The last transitions of an actor's present life, from the journal: it remembers them across restarts of the daemon, which
 * the actor does not. Empty for actors that are not durable.
 */
export async function journalledTransitions(target: Target, path: string): Promise<TransitionRecord[]> {
	let life: TransitionRecord[] = [];
	const query = new URLSearchParams({ since: "0", follow: "false", actor: path });
	for await (const event of followJson(target, `/v1/stream?${query}`)) {
		const { type, subject, time, data } = event as {
			type: string;
			subject: string;
			time: string;
			data: TransitionRecord;
		};
		if (type !== "troupe.actor.transition" || subject !== path) continue;
		if (data.from === null) life = []; // another life under the same name
		life.push({ from: data.from, to: data.to, message: messageType(data.message), time: Date.parse(time) });
		if (life.length > shownTransitions) life.shift();
	}
	return life;
}

/** A journalled transition carries its whole message; its type says what happened. */
export const messageType = (message: unknown): string =>
	typeof message === "object" && message !== null && "type" in message ? String(message.type) : String(message);

/** A state value as a word: `running`, or `active.paused` for a nested one. */
export function stateText(state: unknown): string {
	if (typeof state === "string") return state;
	if (typeof state !== "object" || state === null) return "-";
	return Object.entries(state)
		.map(([name, inner]) =>
			inner === undefined || Object.keys(Object(inner)).length === 0 ? name : `${name}.${stateText(inner)}`,
		)
		.join(" & ");
}
