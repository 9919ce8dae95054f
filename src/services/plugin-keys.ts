/** What services need and provide, by the names that `ctr plugins ls` shows. */
import type { System } from "../../actors/kernel/system.ts";
import type { Tasks } from "../../actors/task-manager/tasks.ts";
import type { ContentStore } from "../content/content-store.ts";
import type { ImagePuller } from "../images/image-puller.ts";
import type { ContainerStore } from "../metadata/containers.ts";
import type { NamespacedContent } from "../metadata/content.ts";
import type { GarbageCollector } from "../metadata/gc/garbage-collector.ts";
import type { ImageStore } from "../metadata/images.ts";
import type { LeaseStore } from "../metadata/leases.ts";
import type { NamespaceStore } from "../metadata/namespaces.ts";
import type { Snapshotters } from "../metadata/snapshotters.ts";
import type { Store } from "../metadata/store/store.ts";
import { pluginGroup, pluginKey } from "../plugin/plugin-key.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { Trees } from "../workers/tree-pool.ts";
import type { Unpacker } from "../workers/unpacker.ts";
import type { TaskFacts } from "./events/event.service.ts";
import type { Service } from "./rpc.ts";
import type { StreamRegistry } from "./streaming/stream-registry.ts";

interface Closable {
	close(): Promise<void>;
}

/** Everything that the gRPC socket serves. */
export const grpcServices = pluginGroup<Service>("io.containerd.grpc.v1");
/** Everything that the ttrpc socket serves. */
export const ttrpcServices = pluginGroup<Service>("io.containerd.ttrpc.v1");

export const storeKey = pluginKey<Store>("io.containerd.metadata.v1.rocksdb");
/** The bytes of all namespaces. */
export const contentBackendKey = pluginKey<ContentStore>("io.containerd.content.v1.content");
/** All backends of snapshots, whatever their kind. */
export const snapshotterBackends = pluginGroup<Snapshotter>("io.containerd.snapshotter.v1");
export const unpackerKey = pluginKey<Unpacker & Closable>("io.containerd.differ.v1.troupe");
export const treesKey = pluginKey<Trees & Closable>("io.troupe.workers.v1.trees");
export const imagePullerKey = pluginKey<ImagePuller>("io.containerd.transfer.v1.pull");

export const namespacesKey = pluginKey<NamespaceStore>("io.troupe.metadata.v1.namespaces");
export const containersKey = pluginKey<ContainerStore>("io.troupe.metadata.v1.containers");
export const imagesKey = pluginKey<ImageStore>("io.troupe.metadata.v1.images");
export const leasesKey = pluginKey<LeaseStore>("io.containerd.lease.v1.manager");
export const contentKey = pluginKey<NamespacedContent>("io.troupe.metadata.v1.content");
export const snapshottersKey = pluginKey<Snapshotters>("io.troupe.metadata.v1.snapshots");

export const garbageCollectorKey = pluginKey<GarbageCollector>("io.containerd.gc.v1.scheduler");

/** The actor system with its whole tree. */
export const systemKey = pluginKey<System>("io.troupe.actors.v1.system");
export const streamsKey = pluginKey<StreamRegistry>("io.containerd.streaming.v1.manager");
export const tasksKey = pluginKey<Tasks>("io.containerd.runtime.v2.task");
export const taskFactsKey = pluginKey<TaskFacts>("io.containerd.runtime.v2.facts");
