import { DaemonError } from "../src/errors/daemon-error.ts";
import { StandbyDefinition, ReleaseRequest_What as What } from "../src/gen/troupe/shim/v1/shim.ts";
import { type Implementation, implementation } from "../src/ttrpc/server.ts";
import { toWire } from "./exit.ts";
import type { ShardOfStandby, Standby } from "./standby.ts";

const flushMs = 5_000;

/** troupe.shim.v1.Standby. `end` stops the process after the answer is sent. */
export const standbyService = (standby: Standby, shardSize: number, end: () => void): Implementation =>
	implementation(StandbyDefinition, {
		startShard({ namespace, group, containerId, shardSize: asked, fresh }) {
			if (namespace === "")
				throw new DaemonError("InvalidArgument", { kind: "shard", id: group }, "a shard needs a namespace");
			const { id, address, pid } = standby.shardFor(namespace, group, containerId, asked || shardSize, fresh);
			return { shardId: id, address, pid };
		},
		listShards: () => ({ shards: [...standby.shards.values()].map((shard) => statusOf(standby, shard)) }),
		listOrphans: () => ({
			orphans: standby.orphans.map(({ namespace, shard, bundle, containerId, execId, pid, exit }) => ({
				...{ namespace, shardId: shard, bundle, containerId, execId, pid },
				exit: exit === undefined ? undefined : toWire(exit),
			})),
		}),
		register(request) {
			standby.register(request);
			return {};
		},
		hold(request) {
			standby.hold(request);
			return {};
		},
		release({ namespace, containerId, execId, what }) {
			if (what === What.PROCESS) standby.release(namespace, containerId, execId);
			else if (what === What.STDIN) standby.witness(namespace, containerId, execId)?.releaseStdin();
			else standby.witness(namespace, containerId, execId)?.releaseStdio();
			return {};
		},
		adopt: ({ namespace, shardId, containerIds }) => ({
			exits: standby.adopt(namespace, shardId, containerIds).map(toWire),
		}),
		leave({ shardId }) {
			standby.leave(shardId);
			return {};
		},
		forget: ({ namespace, containerId }) => ({ exits: standby.forget(namespace, containerId).map(toWire) }),
		async flush(_, { timeoutMs }) {
			return { pending: await standby.publisher.flush(Math.min(timeoutMs ?? flushMs, flushMs)) };
		},
		shutdown() {
			if (!standby.idle)
				throw new DaemonError(
					"FailedPrecondition",
					{ kind: "standby", id: String(process.pid) },
					`${standby.shards.size} shards run, ${standby.publisher.pending} reports are not acknowledged`,
				);
			setImmediate(end);
			return {};
		},
	});

const statusOf = (standby: Standby, { id, namespace, group, address, pid, child }: ShardOfStandby) => ({
	shardId: id,
	namespace,
	group,
	address,
	pid,
	containers: [...standby.containersOf(id)],
	child,
});
