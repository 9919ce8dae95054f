import * as z from "zod";
import { defaultPolicy, GarbageCollector } from "../../metadata/gc/garbage-collector.ts";
import { systemClock } from "../../metadata/scope.ts";
import { plugin } from "../../plugin/plugin.ts";
import { contentKey, garbageCollectorKey, leasesKey, snapshottersKey, storeKey } from "../../services/plugin-keys.ts";

/** Section `[plugins."io.containerd.gc.v1.scheduler"]`, as containerd's; delays in milliseconds. */
const config = z.strictObject({
	pause_threshold: z.number().min(0).max(0.5).default(defaultPolicy.pauseThreshold),
	deletion_threshold: z.int().min(0).default(defaultPolicy.deletionThreshold),
	mutation_threshold: z.int().min(0).default(defaultPolicy.mutationThreshold),
	schedule_delay_ms: z.int().min(0).default(defaultPolicy.scheduleDelayMs),
	startup_delay_ms: z.int().min(0).default(defaultPolicy.startupDelayMs),
});

export const garbageCollectorPlugin = plugin({
	key: garbageCollectorKey,
	needs: { store: storeKey, content: contentKey, snapshotters: snapshottersKey, leases: leasesKey },
	config,
	start: ({ config, log }, { store, content, snapshotters, leases }) =>
		new GarbageCollector({
			store,
			content,
			snapshotters,
			leases,
			now: systemClock,
			policy: {
				pauseThreshold: config.pause_threshold,
				deletionThreshold: config.deletion_threshold,
				mutationThreshold: config.mutation_threshold,
				scheduleDelayMs: config.schedule_delay_ms,
				startupDelayMs: config.startup_delay_ms,
			},
			onCollection: ({ removed, freed, left, pauseMs }) => {
				for (const { kind, id, error } of left)
					log.warn({ kind, id, error }, "could not be removed, tried again later");
				log.debug({ removed: removed.length, freed: freed.length, pauseMs }, "garbage collected");
			},
			onError: (error) => log.error({ error }, "garbage collection failed, tried again later"),
		}),
	stop: (collector) => collector.stop(),
});
