import type { KernelEvent } from "../../../actors/kernel/kernel-event.ts";
import { startSystem } from "../../../actors/kernel/system.ts";
import { type PluginLog, plugin } from "../../plugin/plugin.ts";
import { storeKey, systemKey } from "../../services/plugin-keys.ts";

/** The tree of actors. Its root gives up only when all restarts have failed: then the daemon ends, and starts clean. */
export const actorSystemPlugin = plugin({
	key: systemKey,
	needs: { store: storeKey },
	async start({ log }, { store }) {
		const system = await startSystem({ store, root: { strategy: "rest_for_one", children: [] } });
		system.watch((event) => tell(event, log));
		return system;
	},
	stop: (system) => system.stop(),
});

/** What people should hear of without asking; transitions are in the journal. */
function tell(event: KernelEvent, log: PluginLog): void {
	switch (event.type) {
		case "crashed":
			log.error({ actor: event.path, on: event.message, error: event.error }, "actor crashed");
			return;
		case "start failed":
			log.error({ actor: event.path, error: event.error }, "actor does not start");
			return;
		case "gave up":
			log.error({ supervisor: event.path, error: event.error }, "supervisor gave up");
			return;
		case "restarting":
			log.info({ actor: event.path, delayMs: event.delayMs }, "actor restarts");
			return;
		case "dead letter":
			log.debug({ letter: event.letter }, "dead letter");
			return;
		case "transition":
			return;
	}
}
