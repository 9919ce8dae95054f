import type { System } from "../../actors/kernel/system.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { type JsonValue, jsonOf } from "./json-value.ts";

/** What the stream reads of the actor system. */
export type ActorTree = Pick<System, "inspect" | "inspectOne" | "deadLetters" | "counters">;

/** The whole tree as JSON: parents first, children in the order of their start. */
export const treeJson = (actors: ActorTree): JsonValue => [...actors.inspect()].map(jsonOf);

/** One node with the messages that wait for it. NotFound. */
export function nodeJson(actors: ActorTree, path: string): JsonValue {
	const node = actors.inspectOne(path);
	if (node === undefined) throw new DaemonError("NotFound", { kind: "actor", id: path }, "not found");
	return jsonOf(node);
}
