import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { storeKey, taskFactsKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { eventForwardService, eventService } from "./event.service.ts";

export const eventsPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.events"),
	needs: { store: storeKey, taskFacts: taskFactsKey },
	start: (_context, { store, taskFacts }) => eventService(store, taskFacts),
});

/** What shims report to, on the ttrpc socket. */
export const eventForwardPlugin = plugin({
	key: pluginKey<Service>("io.containerd.ttrpc.v1.events"),
	needs: { store: storeKey, taskFacts: taskFactsKey },
	start: (_context, { store, taskFacts }) => eventForwardService(store, taskFacts),
});
