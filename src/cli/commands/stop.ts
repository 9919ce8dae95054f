import { withDaemon } from "../daemon-connection.ts";
import { parsePositive } from "../option-values.ts";
import type { Target } from "../target.ts";
import { stopTask } from "../task-end.ts";

/** `troupe stop`: asks containers to end, and kills those that do not in time. Prints the ids as they end. */
export async function stop(target: Target, ids: readonly string[], options: { readonly time: string }): Promise<void> {
	const graceMs = options.time === "0" ? 0 : parsePositive("time", options.time) * 1000;
	await withDaemon(target, async (daemon) => {
		await Promise.all(
			ids.map(async (id) => {
				await stopTask(daemon, id, graceMs);
				process.stdout.write(`${id}\n`);
			}),
		);
	});
}
