import { join } from "node:path";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import type { Service } from "../rpc.ts";
import { introspectionService } from "./introspection.service.ts";
import { serverIdentity } from "./server-identity.ts";

export const introspectionPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.introspection"),
	start: async ({ root, plugins }) => introspectionService(plugins, await serverIdentity(join(root, "uuid"))),
});
