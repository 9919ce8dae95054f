import { DaemonError } from "../src/errors/daemon-error.ts";
import { type HoldRequest, StandbyDefinition, ReleaseRequest_What as What } from "../src/gen/troupe/shim/v1/shim.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { connect, type ServiceClient, type TtrpcClient } from "../src/ttrpc/client.ts";
import type { Container } from "./container.ts";
import { type Exit, fromWire } from "./exit.ts";
import { type Log, reasonOf } from "./log.ts";
import type { ContainerProcess } from "./process.ts";
import type { Places } from "./settings.ts";
import type { StandbyPort } from "./standby-port.ts";
import { keepTerminal, takeTerminal } from "./terminal-store.ts";
import { pause, within } from "./time.ts";

export interface ShardIdentity {
	readonly shard: string;
	readonly namespace: string;
	readonly group: string;
}

const callMs = 2_000;
/** A standby that is not connected is being started, or was killed and will be when the next container comes. */
const holdMs = 500;
const adoptAttempts = 3;
const reconnectMs = [50, 2_000] as const;

/**
 * A shard's connection to the standby, made again for as long as the shard lives: a standby that was started anew learns
 * from each shard what it holds. Nothing in a container's life waits for the standby, except where it holds an end.
 */
export class StandbyLink implements StandbyPort {
	readonly #identity: ShardIdentity;
	readonly #places: Places;
	readonly #kernel: Kernel;
	readonly #log: Log;
	readonly #holdings: () => readonly (readonly [Container, ContainerProcess])[];
	#client: TtrpcClient | undefined;
	#standby: ServiceClient<typeof StandbyDefinition> | undefined;
	#connected = Promise.withResolvers<void>();
	#closed = false;

	constructor(
		identity: ShardIdentity,
		places: Places,
		kernel: Kernel,
		log: Log,
		holdings: () => readonly (readonly [Container, ContainerProcess])[],
	) {
		this.#identity = identity;
		this.#places = places;
		this.#kernel = kernel;
		this.#log = log;
		this.#holdings = holdings;
		void this.#stayConnected();
	}

	async hold(container: Container, process: ContainerProcess): Promise<void> {
		if (this.#standby === undefined)
			await within(holdMs, this.#connected.promise); // the registration tells it
		else await this.#tell((standby) => standby.hold(this.#holdRequest(container, process), { timeoutMs: callMs }));
	}

	keepTerminal(containerId: string, execId: string, master: number): void {
		try {
			keepTerminal(this.#kernel, this.#places.terminalSocket, this.#key(containerId, execId), master);
		} catch (reason) {
			this.#log("warning", "the standby does not keep a terminal", { containerId, execId, reason: reasonOf(reason) });
		}
	}

	async savedTerminal(containerId: string, execId: string): Promise<number | undefined> {
		try {
			return await takeTerminal(this.#kernel, this.#places.terminalSocket, this.#key(containerId, execId));
		} catch (reason) {
			this.#log("warning", "no terminal from the standby", { containerId, execId, reason: reasonOf(reason) });
			return undefined;
		}
	}

	/** A standby that does not answer is dead (then its end is closed) or hangs (then it is told again at the exit). */
	async releaseStdin(containerId: string, execId: string): Promise<void> {
		try {
			await this.#standby?.release(this.#release(containerId, execId, What.STDIN), { timeoutMs: callMs });
		} catch (reason) {
			this.#log("warning", "the standby may still hold stdin", { containerId, execId, reason: reasonOf(reason) });
		}
	}

	releaseStdio(containerId: string, execId: string): void {
		void this.#tell((standby) =>
			standby.release(this.#release(containerId, execId, What.STDIO), { timeoutMs: callMs }),
		);
	}

	releaseProcess(containerId: string, execId: string): void {
		void this.#tell((standby) =>
			standby.release(this.#release(containerId, execId, What.PROCESS), { timeoutMs: callMs }),
		);
	}

	/** Without a standby nobody knows more than the records; one that dies meanwhile is followed by another. */
	async adopt(containerIds: readonly string[]): Promise<readonly Exit[]> {
		const { namespace, shard } = this.#identity;
		const request = { namespace, shardId: shard, containerIds: [...containerIds] };
		for (let attempt = 1; attempt <= adoptAttempts; attempt++) {
			// A shard that was started to adopt is asked before it has introduced itself.
			if (this.#standby === undefined) await within(callMs, this.#connected.promise);
			try {
				if (this.#standby !== undefined)
					return (await this.#standby.adopt(request, { timeoutMs: callMs })).exits.map(fromWire);
			} catch (reason) {
				this.#log("warning", "the standby does not say what it has seen", { reason: reasonOf(reason) });
				await pause(reconnectMs[0]);
			}
		}
		return [];
	}

	/** Whether the shard may end: not if the standby has just given it to a new container. */
	async leave(): Promise<boolean> {
		try {
			await this.#standby?.leave({ shardId: this.#identity.shard }, { timeoutMs: callMs });
			return true;
		} catch (reason) {
			return !(reason instanceof DaemonError && reason.code === "FailedPrecondition");
		}
	}

	close(): void {
		this.#closed = true;
		this.#client?.close();
	}

	async #stayConnected(): Promise<void> {
		let wait: number = reconnectMs[0];
		while (!this.#closed) {
			try {
				const client = await connect(this.#places.standbySocket, { timeoutMs: callMs });
				const standby = client.service(StandbyDefinition);
				await standby.register(this.#registration(), { timeoutMs: callMs });
				this.#client = client;
				this.#standby = standby;
				this.#connected.resolve();
				wait = reconnectMs[0];
				this.#keepTerminals();
				await client.closed;
				this.#log("warning", "the standby is gone");
			} catch (reason) {
				this.#log("debug", "no standby", { reason: reasonOf(reason) });
			}
			this.#standby = undefined;
			this.#connected = Promise.withResolvers();
			await pause(wait);
			wait = Math.min(wait * 2, reconnectMs[1]);
		}
	}

	/** A standby that was started anew has none. */
	#keepTerminals(): void {
		for (const [container, { execId, stdio }] of this.#holdings())
			if (stdio?.master !== undefined) this.keepTerminal(container.id, execId, stdio.master);
	}

	#registration() {
		const { shard, namespace, group } = this.#identity;
		return {
			shardId: shard,
			namespace,
			group,
			address: `unix://${this.#places.shardSocket(shard)}`,
			pid: process.pid,
			processes: this.#holdings().map(([container, process]) => this.#holdRequest(container, process)),
		};
	}

	#holdRequest(container: Container, process: ContainerProcess): HoldRequest {
		const { shard, namespace } = this.#identity;
		const { execId, pid, startTime } = process;
		const none = { stdin: "", stdout: "", stderr: "" };
		const fifos = process.exit === undefined ? (process.stdio?.fifos ?? none) : none;
		const { id: containerId, bundle } = container;
		return { shardId: shard, namespace, containerId, execId, pid, startTime: BigInt(startTime), bundle, ...fifos };
	}

	#release(containerId: string, execId: string, what: What) {
		return { namespace: this.#identity.namespace, containerId, execId, what };
	}

	#key(containerId: string, execId: string): string {
		return terminalKey(this.#identity.namespace, containerId, execId);
	}

	/** What is lost here is told again at the next registration. */
	async #tell(call: (standby: ServiceClient<typeof StandbyDefinition>) => Promise<unknown>): Promise<void> {
		if (this.#standby === undefined) return;
		try {
			await call(this.#standby);
		} catch (reason) {
			this.#log("warning", "the standby was not told", { reason: reasonOf(reason) });
		}
	}
}

export const terminalKey = (namespace: string, containerId: string, execId: string): string =>
	`${namespace}/${containerId}/${execId}`;
