import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** How many containers share a process: a shard, a pod's, or one each. */
export type Grouping = "shard" | "pod" | "container";

/** What the daemon tells its shims, in the environment; every value has a default for other daemons. */
export interface Settings {
	/** TROUPE_SHIM_GROUPING. Default `shard`. */
	readonly grouping: Grouping;
	/** TROUPE_SHIM_SHARD_SIZE: tasks per shard. Default 64. */
	readonly shardSize: number;
	/** TROUPE_OCI_RUNTIME: name or path. Default: crun where it works, else runc. */
	readonly runtime: string | undefined;
	/** TROUPE_RUNTIME_TIMEOUT_MS: the longest that one operation of the OCI runtime may take. Default 120,000. */
	readonly runtimeTimeoutMs: number;
	/** TROUPE_OPEN_FILES, set by the launcher: the soft limit of open files that containers inherit. */
	readonly openFiles: number | undefined;
	/** TROUPE_SHIM_REPORTS: `exits` leaves out what the daemon knows from the answers to its calls. Default `all`. */
	readonly reports: "all" | "exits";
	/** TTRPC_ADDRESS, else the gRPC address with `.ttrpc`. */
	readonly eventsAddress: string;
}

export function readSettings(environment: Environment, address: string): Settings {
	const grouping = environment.TROUPE_SHIM_GROUPING;
	return {
		grouping: grouping === "pod" || grouping === "container" ? grouping : "shard",
		shardSize: positive(environment.TROUPE_SHIM_SHARD_SIZE) ?? 64,
		runtime: environment.TROUPE_OCI_RUNTIME || undefined,
		runtimeTimeoutMs: positive(environment.TROUPE_RUNTIME_TIMEOUT_MS) ?? 120_000,
		openFiles: positive(environment.TROUPE_OPEN_FILES),
		reports: environment.TROUPE_SHIM_REPORTS === "exits" ? "exits" : "all",
		eventsAddress: environment.TTRPC_ADDRESS || `${address}.ttrpc`,
	};
}

const positive = (text: string | undefined): number | undefined =>
	text !== undefined && /^[1-9]\d*$/.test(text) ? Number(text) : undefined;

/** Where the shims of one daemon keep what they need. All of it is lost at a reboot, as the containers are. */
export interface Places {
	readonly state: string;
	readonly sockets: string;
	readonly log: string;
	readonly lock: string;
	readonly standbySocket: string;
	/** Where the standby keeps terminals (descriptors) for shards. */
	readonly terminalSocket: string;
	readonly runtimeRoot: string;
	/** Directory of the journals. */
	readonly journals: string;
	journal(shard: string): string;
	shardSocket(shard: string): string;
	/** The shard of a socket of this daemon's shards, by its file name; undefined for any other. */
	shardOfSocket(name: string): string | undefined;
}

/**
 * TROUPE_SHIM_STATE: a directory of the daemon's; default: one per daemon address below /run/troupe/shim.
 * TROUPE_SHIM_SOCKETS: a directory with a short path, because a socket's path has at most 107 bytes; default
 * /run/troupe/s. Socket names carry the state directory's digest, so that daemons may share it.
 */
export function placesOf(address: string, environment: Environment): Places {
	const state = environment.TROUPE_SHIM_STATE || join("/run/troupe/shim", digest(address));
	const sockets = environment.TROUPE_SHIM_SOCKETS || "/run/troupe/s";
	const prefix = digest(state);
	return {
		state,
		sockets,
		log: join(state, "shim.log"),
		lock: join(state, "standby.lock"),
		standbySocket: join(sockets, `${prefix}-standby`),
		terminalSocket: join(sockets, `${prefix}-terminals`),
		runtimeRoot: join(state, "oci"),
		journals: join(state, "journal"),
		journal: (shard) => join(state, "journal", `${shard}.jsonl`),
		shardSocket: (shard) => join(sockets, `${prefix}-${shard}`),
		shardOfSocket: (name) => {
			const shard = name.startsWith(`${prefix}-`) ? name.slice(prefix.length + 1) : undefined;
			return shard === "standby" || shard === "terminals" ? undefined : shard;
		},
	};
}

/**
 * A short name for a path: FNV-1a, 64 bits. Not node:crypto, which costs each shim half a megabyte; nobody attacks these
 * names, whoever may write here may do worse.
 */
function digest(text: string): string {
	let hash = 0xcbf2_9ce4_8422_2325n;
	for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100_0000_01b3n);
	return hash.toString(16).padStart(16, "0");
}
