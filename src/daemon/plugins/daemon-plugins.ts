import type { Plugin } from "../../plugin/plugin.ts";
import { containersPlugin } from "../../services/containers/container.plugin.ts";
import { contentPlugin } from "../../services/content/content.plugin.ts";
import { diffPlugin } from "../../services/diff/diff.plugin.ts";
import { eventForwardPlugin, eventsPlugin } from "../../services/events/event.plugin.ts";
import { imagesPlugin } from "../../services/images/image.plugin.ts";
import { introspectionPlugin } from "../../services/introspection/introspection.plugin.ts";
import { leasesPlugin } from "../../services/leases/lease.plugin.ts";
import { mountsPlugin } from "../../services/mounts/mounts.plugin.ts";
import { namespacesPlugin } from "../../services/namespaces/namespace.plugin.ts";
import { sandboxControllersPlugin, sandboxStorePlugin } from "../../services/sandbox/sandbox.plugin.ts";
import { snapshotsPlugin } from "../../services/snapshots/snapshot.plugin.ts";
import { specsPlugin } from "../../services/specs/spec.plugin.ts";
import { streamingPlugin, streamsPlugin } from "../../services/streaming/streaming.plugin.ts";
import { tasksPlugin } from "../../services/tasks/task.plugin.ts";
import { transferPlugin } from "../../services/transfer/transfer.plugin.ts";
import { versionPlugin } from "../../services/version/version.plugin.ts";
import { actorSystemPlugin } from "./actor-system.plugin.ts";
import { contentPlugins } from "./content.plugins.ts";
import { garbageCollectorPlugin } from "./garbage-collector.plugin.ts";
import { imagePullerPlugin } from "./image-puller.plugin.ts";
import { memoryPlugin } from "./memory.plugin.ts";
import { metadataPlugins } from "./metadata.plugins.ts";
import { snapshotPlugins } from "./snapshot.plugins.ts";
import { storePlugin } from "./store.plugin.ts";
import { streamPlugin } from "./stream.plugin.ts";
import { taskPlugins } from "./task.plugins.ts";
import { workerPlugins } from "./worker.plugins.ts";

/** Everything that this daemon is made of. Nothing registers itself: what is not in this list does not exist. */
export const daemonPlugins: readonly Plugin[] = [
	storePlugin,
	memoryPlugin,
	actorSystemPlugin,
	...workerPlugins,
	...metadataPlugins,
	...contentPlugins,
	...snapshotPlugins,
	garbageCollectorPlugin,
	imagePullerPlugin,
	...taskPlugins,
	streamsPlugin,
	streamPlugin,
	containersPlugin,
	contentPlugin,
	diffPlugin,
	eventsPlugin,
	eventForwardPlugin,
	imagesPlugin,
	introspectionPlugin,
	leasesPlugin,
	mountsPlugin,
	namespacesPlugin,
	sandboxStorePlugin,
	sandboxControllersPlugin,
	snapshotsPlugin,
	specsPlugin,
	streamingPlugin,
	tasksPlugin,
	transferPlugin,
	versionPlugin,
];
