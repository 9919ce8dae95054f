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
	/** Starts a standby; resolves when its socket takes connections. */
	readonly launch: () => Promise<void>;
	/** Milliseconds for one call. A new shard starts within it. */
	readonly timeoutMs: number;
	readonly after: (ms: number, callback: () => void) => unknown;
	readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
}

/** First and longest pause between attempts to start a standby. */
const reviveMs = [500, 30_000] as const;

type StandbyClient = ServiceClient<typeof StandbyDefinition>;

/** The parent of the shards: connected when it is first needed, started if it is not there. */
export class Standby {
	readonly #options: StandbyOptions;
	#client: Promise<StandbyClient> | undefined;
	#close: (() => void) | undefined;
	#launch: Promise<void> | undefined;
	#isNeeded: () => boolean = () => false;
	#reviving = false;

	constructor(options: StandbyOptions) {
		this.#options = options;
	}

	/** From now on one that dies is replaced at once while `isNeeded`: as long as shards run they need a witness. */
	keepAlive(isNeeded: () => boolean): void {
		this.#isNeeded = isNeeded;
		void this.#revive();
	}

	/** A shard for a container: one with room, or a new one. */
	async shardFor(request: StartShardRequest): Promise<Shard> {
		const standby = await this.#reach();
		const { shardId, address, pid } = await standby.startShard(request, { timeoutMs: this.#options.timeoutMs });
		return { shim: shardId, address, pid };
	}

	/** The shard that a container was given to; undefined if no standby runs or none knows it. */
	async shardOf(namespace: string, id: string): Promise<Shard | undefined> {
		const shards = await this.#shards();
		const found = shards.find((shard) => shard.namespace === namespace && shard.containers.includes(id));
		return found && { shim: found.shardId, address: found.address, pid: found.pid };
	}

	/** Has a standby that runs report what it has kept, instead of at its next attempt. */
	async flush(): Promise<void> {
		let standby: StandbyClient;
		try {
			standby = await this.#connected();
		} catch {
			return; // none runs: it has kept nothing
		}
		await standby.flush({}, { timeoutMs: this.#options.timeoutMs });
	}

	/** Ends the connection; the standby lives on. */
	close(): void {
		this.#isNeeded = () => false;
		this.#close?.();
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

	async #reach(): Promise<StandbyClient> {
		try {
			return await this.#connected();
		} catch {
			// Nobody listens: the first container since the boot, or the standby was killed.
			this.#launch ??= this.#options.launch().finally(() => {
				this.#launch = undefined;
			});
			await this.#launch;
			return await this.#connected();
		}
	}

	#connected(): Promise<StandbyClient> {
		if (this.#client !== undefined) return this.#client;
		const attempt = this.#connect();
		this.#client = attempt;
		const forget = (): void => {
			if (this.#client === attempt) this.#client = undefined;
		};
		attempt.catch(forget);
		return attempt;
	}

	async #connect(): Promise<StandbyClient> {
		const client = await this.#options.connect();
		this.#close = () => client.close();
		void client.closed.then(() => {
			this.#client = undefined;
			void this.#revive();
		});
		return client.service(StandbyDefinition);
	}

	async #revive(): Promise<void> {
		if (this.#reviving) return;
		this.#reviving = true;
		try {
			for (let ms: number = reviveMs[0]; this.#isNeeded(); ms = Math.min(ms * 2, reviveMs[1])) {
				try {
					await this.#reach();
					return;
				} catch (reason) {
					this.#options.warn({ reason: String(reason) }, "the standby shim cannot be started; another try follows");
					await new Promise<void>((resolve) => this.#options.after(ms, resolve));
				}
			}
		} finally {
			this.#reviving = false;
		}
	}
}
