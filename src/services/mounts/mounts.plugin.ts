import { MountsDefinition } from "../../gen/containerd/services/mounts/v1/mounts.ts";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { type Service, serviceNotThereYet } from "../rpc.ts";

export const mountsPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.mounts"),
	start: () => serviceNotThereYet(MountsDefinition, "the mount manager is not there yet"),
});
