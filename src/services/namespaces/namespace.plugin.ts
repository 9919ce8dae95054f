import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { namespacesKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { namespaceService } from "./namespace.service.ts";

export const namespacesPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.namespaces"),
	needs: { namespaces: namespacesKey },
	start: (_context, { namespaces }) => namespaceService(namespaces),
});
