import { ControllerDefinition, StoreDefinition } from "../../gen/containerd/services/sandbox/v1/sandbox.ts";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { type Service, serviceNotThereYet } from "../rpc.ts";

export const sandboxStorePlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.sandboxes"),
	start: () => serviceNotThereYet(StoreDefinition, "the sandbox store is not there yet: pods are made through the CRI"),
});

export const sandboxControllersPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.sandbox-controllers"),
	start: () =>
		serviceNotThereYet(ControllerDefinition, "sandbox controllers are not there yet: pods are made through the CRI"),
});
