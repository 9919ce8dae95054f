import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import type { Service } from "../rpc.ts";
import { buildVersion } from "./build-version.ts";
import { versionService } from "./version.service.ts";

export const versionPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.version"),
	start: () => versionService(buildVersion),
});
