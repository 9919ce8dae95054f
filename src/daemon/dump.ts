import type { System } from "../../actors/kernel/system.ts";
import type { Log } from "../log/log.ts";

/** Writes to the log what the daemon is doing: each actor, what keeps the process alive, where its memory is (SIGUSR1). */
export function dump(system: System | undefined, log: Log): void {
	for (const node of system?.inspect() ?? []) log.info({ node }, "actor");
	for (const letter of system?.deadLetters ?? []) log.info({ letter }, "dead letter");
	log.info(
		{ memory: process.memoryUsage(), resources: counted(process.getActiveResourcesInfo()), uptime: process.uptime() },
		"process",
	);
	log.info({ stack: new Error("here").stack }, "stack of the event loop's thread");
}

const counted = (names: readonly string[]): Record<string, number> => {
	const counts: Record<string, number> = {};
	for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
	return counts;
};
