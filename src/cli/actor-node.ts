import type { ActorInspection, SupervisorInspection, WaitingMessage } from "../../actors/kernel/inspection.ts";
import { getJson } from "./http-connection.ts";
import type { Target } from "./target.ts";

export type ActorNode = ActorInspection | SupervisorInspection;

/** The daemon's actor tree, parents first, and the journal's newest record at that moment. */
export async function actorTree(target: Target): Promise<{ sequence: number; actors: ActorNode[] }> {
	return (await getJson(target, "/v1/actors")) as { sequence: number; actors: ActorNode[] };
}

export const actorNode = async (target: Target, path: string): Promise<ActorNode & { waiting: WaitingMessage[] }> =>
	(await getJson(target, `/v1/actors?path=${encodeURIComponent(path)}`)) as ActorNode & { waiting: WaitingMessage[] };

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
