import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { garbageCollectorKey, leasesKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { leaseService } from "./lease.service.ts";

export const leasesPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.leases"),
	needs: { leases: leasesKey, gc: garbageCollectorKey },
	start: (_context, { leases, gc }) => leaseService(leases, gc),
});
