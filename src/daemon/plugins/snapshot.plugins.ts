import { SnapshotStore } from "../../metadata/snapshots.ts";
import { Snapshotters } from "../../metadata/snapshotters.ts";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { snapshotterBackends, snapshottersKey, storeKey, treesKey } from "../../services/plugin-keys.ts";
import { openOverlaySnapshotter } from "../../snapshots/overlay-snapshotter.ts";
import type { Snapshotter } from "../../snapshots/snapshotter.ts";

const overlayfsPlugin = plugin({
	key: pluginKey<Snapshotter>("io.containerd.snapshotter.v1.overlayfs"),
	needs: { store: storeKey, trees: treesKey },
	async start({ root, log, announce }, { store, trees }) {
		const snapshotter = await openOverlaySnapshotter({
			root,
			records: store,
			trees,
			onProblem: (error) => log.warn({ error }, "snapshot"),
		});
		announce({ exports: { root }, capabilities: snapshotter.capabilities });
		return snapshotter;
	},
	stop: (snapshotter) => snapshotter.close(),
});

const snapshottersPlugin = plugin({
	key: snapshottersKey,
	needs: { store: storeKey, backends: snapshotterBackends },
	start: (_context, { store, backends }) =>
		new Snapshotters([...backends.values()].map((snapshotter) => new SnapshotStore({ store, snapshotter }))),
});

export const snapshotPlugins = [overlayfsPlugin, snapshottersPlugin];
