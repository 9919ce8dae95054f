import type { Plugin } from "../../plugin/plugin.ts";
import { eventForwardPlugin, eventsPlugin } from "../../services/events/event.plugin.ts";
import { introspectionPlugin } from "../../services/introspection/introspection.plugin.ts";
import { mountsPlugin } from "../../services/mounts/mounts.plugin.ts";
import { sandboxControllersPlugin, sandboxStorePlugin } from "../../services/sandbox/sandbox.plugin.ts";
import { streamingPlugin, streamsPlugin } from "../../services/streaming/streaming.plugin.ts";
import { versionPlugin } from "../../services/version/version.plugin.ts";
import { actorSystemPlugin } from "./actor-system.plugin.ts";
import { storePlugin } from "./store.plugin.ts";
import { streamPlugin } from "./stream.plugin.ts";

/** Everything that this daemon is made of. Nothing registers itself: what is not in this list does not exist. */
export const daemonPlugins: readonly Plugin[] = [
	storePlugin,
	actorSystemPlugin,
	streamsPlugin,
	eventsPlugin,
	eventForwardPlugin,
	introspectionPlugin,
	mountsPlugin,
	sandboxStorePlugin,
	sandboxControllersPlugin,
	streamingPlugin,
	versionPlugin,
	streamPlugin,
];
