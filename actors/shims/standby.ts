import { StandbyDefinition, type StartShardRequest } from "../../src/gen/troupe/shim/v1/shim.ts";
import type { ServiceClient } from "../../src/ttrpc/client.ts";
import type { ShimClient } from "./shim-connection.ts";

export interface Shard {
	readonly shim: string;
	readonly address: string;
	readonly pid: number;
}

export interface StandbyOptions {
	/** Connects to the standby's socket; rejects when nobody listens. */
	readonly connect: () => Promise<ShimClient>;
	/** Starts a standby (and a first shard) by the shim's `start`. */
	readonly launch: (namespace: string, id: string, bundle: string) => Promise<void>;
	/** Milliseconds for one call. A new shard starts within it. */
	readonly timeoutMs: number;
}

type StandbyClient = ServiceClient<typeof StandbyDefinition>;

/** The parent of the shards: connected when it is first needed, started if it is not there. */
export class Standby {
	readonly #options: StandbyOptions;
	#client: Promise<StandbyClient> | undefined;
	#launch: Promise<void> | undefined;

	constructor(options: StandbyOptions) {
		this.#options = options;
	}

	/** A shard for a container: with room, or new. `bundle` is where a first standby is started. */
	async shardFor(
		request: Pick<StartShardRequest, "namespace" | "group" | "containerId" | "shardSize" | "fresh">,
		bundle: string,
		/** The bundle is there: only then can a standby be started in it. */
		bundleReady: Promise<void> = Promise.resolve(),
	): Promise<Shard> {
		const standby = await this.#reach(request.namespace, request.containerId, bundle, bundleReady);
		const { shardId, address, pid } = await standby.startShard(request, { timeoutMs: this.#options.timeoutMs });
		return { shim: shardId, address, pid };
	}

	/** The shard that a container was given to; undefined if no standby runs or none knows it. */
	async shardOf(namespace: string, id: string): Promise<Shard | undefined> {
		const shards = await this.#shards();
		const found = shards.find((shard) => shard.namespace === namespace && shard.containers.includes(id));
		return found && { shim: found.shardId, address: found.address, pid: found.pid };
	}

	async #shards() {
		let standby: StandbyClient;
		try {
			standby = await this.#connected();
		} catch {
			return []; // no standby runs: it has no shards
		}
		return (await standby.listShards({}, { timeoutMs: this.#options.timeoutMs })).shards;
	}

	async #reach(namespace: string, id: string, bundle: string, bundleReady: Promise<void>): Promise<StandbyClient> {
		try {
			return await this.#connected();
		} catch {
			// Nobody listens: the first container since the boot, or the standby was killed.
			await bundleReady;
			this.#launch ??= this.#options.launch(namespace, id, bundle).finally(() => {
				this.#launch = undefined;
			});
			await this.#launch;
			return await this.#connected();
		}
	}

	#connected(): Promise<StandbyClient> {
		this.#client ??= this.#connect();
		return this.#client;
	}

	async #connect(): Promise<StandbyClient> {
		const forget = (): void => {
			this.#client = undefined;
		};
		try {
			const client = await this.#options.connect();
			void client.closed.then(forget);
			return client.service(StandbyDefinition);
		} catch (reason) {
			forget();
			throw reason;
		}
	}
}
