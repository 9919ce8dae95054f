import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { contentKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { contentService } from "./content.service.ts";

export const contentPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.content"),
	needs: { content: contentKey },
	start: (_context, { content }) => contentService(content),
});
