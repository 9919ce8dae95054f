import { ShardDefinition } from "../src/gen/troupe/shim/v1/shim.ts";
import { type Implementation, implementation } from "../src/ttrpc/server.ts";
import { fromWire } from "./exit.ts";
import type { Shard } from "./shard.ts";
import { version } from "./version.ts";

const flushMs = 5_000;

/** troupe.shim.v1.Shard: what the daemon and the standby ask of a shard besides tasks. */
export const shardService = (shard: Shard): Implementation =>
	implementation(ShardDefinition, {
		async adopt({ containers }) {
			return { containers: await shard.adopt(containers) };
		},
		async flush(_, { timeoutMs }) {
			return { pending: await shard.publisher.flush(Math.min(timeoutMs ?? flushMs, flushMs)) };
		},
		info: () => ({
			shardId: shard.identity.shard,
			namespace: shard.identity.namespace,
			pid: process.pid,
			version,
			containers: shard.containers.map(({ id }) => id),
			pendingReports: shard.publisher.pending,
			runtime: shard.context.defaultRuntime ?? "",
			residentBytes: BigInt(process.memoryUsage.rss()),
		}),
		exited({ exits }) {
			shard.exitsSeen(exits.map(fromWire));
			return {};
		},
	});
