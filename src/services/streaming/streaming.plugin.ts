import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { streamsKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { StreamRegistry } from "./stream-registry.ts";
import { streamingService } from "./streaming.service.ts";

export const streamsPlugin = plugin({ key: streamsKey, start: () => new StreamRegistry() });

export const streamingPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.streaming"),
	needs: { streams: streamsKey },
	start: (_context, { streams }) => streamingService(streams),
});
