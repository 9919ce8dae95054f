import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { snapshottersKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { snapshotService } from "./snapshot.service.ts";

export const snapshotsPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.snapshots"),
	needs: { snapshotters: snapshottersKey },
	start: (_context, { snapshotters }) => snapshotService(snapshotters),
});
