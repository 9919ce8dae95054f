import { dirname, join } from "node:path";
import * as z from "zod";
import { startHostShims } from "../../../actors/shims/host-shims.ts";
import type { Shims } from "../../../actors/shims/shims.ts";
import { Bundles } from "../../../actors/task/bundle.ts";
import { pidfdWitness } from "../../../actors/task-manager/pidfd-witness.ts";
import { startTaskManager, type TaskManager } from "../../../actors/task-manager/task-manager.ts";
import { TaskRegistry } from "../../../actors/task-manager/task-registry.ts";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { storeKey, systemKey, taskFactsKey, tasksKey } from "../../services/plugin-keys.ts";
import { unmountAll } from "../../sys/mounts.ts";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { programs } from "../programs.ts";

export interface RunningTasks {
	readonly manager: TaskManager;
	readonly shims: Shims;
}

export const taskManagerKey = pluginKey<RunningTasks>("io.troupe.actors.v1.task-manager");

/** Section `[plugins."io.troupe.actors.v1.task-manager"]`. */
const config = z.strictObject({
	/** Which containers share one of our own shims: up to shard_size, those of a pod, or each its own. */
	grouping: z.enum(["shard", "pod", "container"]).default("shard"),
	/** Tasks per shard. */
	shard_size: z.int().positive().default(64),
	/** How long a shard without containers is kept for the next one. */
	idle_ms: z.int().min(0).default(30_000),
	/** Name or path of the OCI runtime of our own shims; empty: crun where it works, else runc. */
	oci_runtime: z.string().default(""),
	/** Runtime names that our own shims serve; others are served by their own binaries. */
	own_runtimes: z.array(z.string()).default(["", "io.containerd.troupe.v2", "io.containerd.runc.v2"]),
	/** Directory of the shims' sockets: short, because a socket's path has at most 107 bytes. Empty: /run/troupe/s. */
	sockets: z.string().default(""),
});

/** The shims of this host and the actors of all tasks; they ask their shims at once what became of them. */
const taskManagerPlugin = plugin({
	key: taskManagerKey,
	needs: { system: systemKey, store: storeKey },
	config,
	async start({ config, root, state, addresses, log }, { system, store }) {
		const registry = new TaskRegistry(system, store);
		const shims = await startHostShims({
			system,
			residents: registry,
			address: addresses.grpc,
			daemonBinary: programs.daemon,
			shimBinary: programs.shim,
			state: join(dirname(state), "io.troupe.shims"),
			...(config.sockets === "" ? {} : { sockets: config.sockets }),
			ownRuntimes: config.own_runtimes,
			grouping: config.grouping,
			shardSize: config.shard_size,
			idleMs: config.idle_ms,
			...(config.oci_runtime === "" ? {} : { ociRuntime: config.oci_runtime }),
			kernel: nativeKernel,
			log,
		});
		const manager = await startTaskManager({
			system,
			store,
			shims,
			registry,
			// Bundles lie where other tools of containerd look for them, below the daemon's own directories.
			bundles: new Bundles({
				state: dirname(state),
				root: dirname(root),
				unmount: (path) => unmountAll(nativeKernel, path),
			}),
			witness: pidfdWitness(nativeKernel, system.clock),
			warn: log.warn.bind(log),
		});
		return { manager, shims };
	},
	stop: ({ shims }) => shims.stop(),
});

const needs = { taskManager: taskManagerKey };

export const taskPlugins = [
	taskManagerPlugin,
	plugin({ key: tasksKey, needs, start: (_context, { taskManager }) => taskManager.manager.tasks }),
	plugin({ key: taskFactsKey, needs, start: (_context, { taskManager }) => taskManager.manager.forward }),
];
