/** What services need and provide, by the names that `ctr plugins ls` shows. */
import type { System } from "../../actors/kernel/system.ts";
import type { Tasks } from "../../actors/task-manager/tasks.ts";
import type { Store } from "../metadata/store/store.ts";
import { pluginGroup, pluginKey } from "../plugin/plugin-key.ts";
import type { TaskFacts } from "./events/event.service.ts";
import type { Service } from "./rpc.ts";
import type { StreamRegistry } from "./streaming/stream-registry.ts";

/** Everything that the gRPC socket serves. */
export const grpcServices = pluginGroup<Service>("io.containerd.grpc.v1");
/** Everything that the ttrpc socket serves. */
export const ttrpcServices = pluginGroup<Service>("io.containerd.ttrpc.v1");

export const storeKey = pluginKey<Store>("io.containerd.metadata.v1.rocksdb");
/** The actor system with its whole tree. */
export const systemKey = pluginKey<System>("io.troupe.actors.v1.system");
export const streamsKey = pluginKey<StreamRegistry>("io.containerd.streaming.v1.manager");
export const tasksKey = pluginKey<Tasks>("io.containerd.runtime.v2.task");
export const taskFactsKey = pluginKey<TaskFacts>("io.containerd.runtime.v2.facts");
