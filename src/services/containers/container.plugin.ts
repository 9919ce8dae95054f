import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { containersKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { containerService } from "./container.service.ts";

export const containersPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.containers"),
	needs: { containers: containersKey },
	start: (_context, { containers }) => containerService(containers),
});
