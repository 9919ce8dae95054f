import { access } from "node:fs/promises";
import { join } from "node:path";
import { recordPath } from "../../shim/container-record.ts";
import { placesOf } from "../../shim/settings.ts";
import type { Kernel } from "../../src/sys/kernel.ts";
import { connect } from "../../src/ttrpc/client.ts";
import type { System } from "../kernel/system.ts";
import { deleteShim, findShimBinary, type ShimSurroundings, startShim, startStandby } from "./shim-binary.ts";
import { readShimLog } from "./shim-log.ts";
import { type Grouping, type Residents, Shims } from "./shims.ts";
import { Standby } from "./standby.ts";

export interface HostShimsOptions {
	readonly system: System;
	readonly residents: Residents;
	/** Paths of the daemon's gRPC socket and of its own binary. */
	readonly address: string;
	readonly daemonBinary: string;
	/** Path of containerd-shim-troupe-v2. */
	readonly shimBinary: string;
	/** Directory in which our own shims keep their state; a reboot may take it. */
	readonly state: string;
	/** Directory for their sockets: a short path, because a socket's has at most 107 bytes. Default /run/troupe/s. */
	readonly sockets?: string | undefined;
	/** Runtime names that our own shards serve. Default: the empty name, io.containerd.troupe.v2, io.containerd.runc.v2. */
	readonly ownRuntimes?: readonly string[] | undefined;
	/** Default `shard`. */
	readonly grouping?: Grouping | undefined;
	/** Tasks per shard. Default 64. */
	readonly shardSize?: number | undefined;
	/** Milliseconds that a shard without containers is kept. Default 30,000. */
	readonly idleMs?: number | undefined;
	/** OCI runtime (name or path) of our own shims. Default: theirs, crun before runc. */
	readonly ociRuntime?: string | undefined;
	/** More variables for shims. */
	readonly environment?: Readonly<Record<string, string>> | undefined;
	readonly kernel: Pick<Kernel, "mkfifo">;
	readonly log: Log;
}

type LogLine = (fields: Readonly<Record<string, unknown>>, message: string) => void;
interface Log {
	readonly info: LogLine;
	readonly warn: LogLine;
}

const defaultRuntimes = ["", "io.containerd.troupe.v2", "io.containerd.runc.v2"];
const startMs = 20_000;
const standbyCallMs = 10_000;

/** The shims of this host: real binaries, unix sockets, the environment that shims know. */
export function startHostShims(options: HostShimsOptions): Promise<Shims> {
	const { address, daemonBinary, shimBinary, state, log, kernel, system } = options;
	const { grouping = "shard", shardSize = 64, idleMs = 30_000, ownRuntimes = defaultRuntimes } = options;
	const environment: Record<string, string> = {
		...options.environment,
		TROUPE_SHIM_STATE: state,
		TROUPE_SHIM_GROUPING: grouping,
		TROUPE_SHIM_REPORTS: "exits", // the others the tasks' actors publish, when a shim has answered
		TROUPE_SHIM_SHARD_SIZE: String(shardSize),
		...(options.sockets === undefined ? {} : { TROUPE_SHIM_SOCKETS: options.sockets }),
		...(options.ociRuntime === undefined ? {} : { TROUPE_OCI_RUNTIME: options.ociRuntime }),
	};
	const surroundings: ShimSurroundings = { address, publishBinary: daemonBinary, environment, timeoutMs: startMs };
	const { standbySocket } = placesOf(address, environment);
	const standby = new Standby({
		connect: () => connect(`unix://${standbySocket}`, { timeoutMs: standbyCallMs }),
		launch: () => startStandby({ binary: shimBinary, namespace: "troupe", id: "standby", bundle: "/" }, surroundings),
		timeoutMs: standbyCallMs,
		after: (ms, callback) => system.clock.after(ms, callback),
		warn: log.warn,
	});
	return Shims.start({
		system,
		residents: options.residents,
		standby,
		ownRuntimes: new Set(ownRuntimes),
		grouping,
		shardSize,
		idleMs,
		connect: (shim, timeoutMs) => connect(shim, { timeoutMs }),
		async startBinary({ namespace, shim: id, runtime, bundle, options: bytes }, signal) {
			const binary = await findShimBinary(runtime, daemonBinary);
			return startShim({ binary, namespace, id, bundle, signal }, bytes, surroundings);
		},
		readLog: ({ namespace, shim: id, bundle }) =>
			readShimLog(
				join(bundle, "log"),
				(path) => void kernel.mkfifo(path, 0o700),
				(line) => log.info({ shim: `${namespace}/${id}`, line }, "a shim says"),
			),
		async deleteBinary({ namespace, shim: id, runtime, bundle }, signal) {
			const binary = await findShimBinary(runtime, daemonBinary);
			return deleteShim({ binary, namespace, id, bundle, signal }, surroundings);
		},
		async clearOwn({ namespace, shim: id, bundle }, signal) {
			if (await exists(recordPath(bundle)))
				await deleteShim({ binary: shimBinary, namespace, id, bundle, signal }, surroundings);
		},
		now: () => system.clock.now(),
		warn: log.warn,
	});
}

const exists = (path: string): Promise<boolean> =>
	access(path).then(
		() => true,
		() => false,
	);
