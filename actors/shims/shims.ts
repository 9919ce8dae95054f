import type { ShimFact } from "../../machines/process-facts.ts";
import { type ShimLinkContext, type ShimLinkInput, shimLinkLimits } from "../../machines/shim-link.machine.ts";
import { runtimeOptions } from "../../shim/runtime-options.ts";
import { groupInCgroup } from "../../shim/shim-cgroup.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { Any } from "../../src/gen/google/protobuf/any.ts";
import type { Reader } from "../../src/metadata/store/store.ts";
import { child, restoredChild, supervisorChild } from "../kernel/child-spec.ts";
import type { System } from "../kernel/system.ts";
import { type ShimLinkWorld, shimLinkActor } from "../shim-link/shim-link.actor.ts";
import type { AnyValue, TaskIdentity } from "../task-manager/tasks.ts";
import { bury, type Estate, inherit } from "./estate.ts";
import { ExpectedResidents } from "./expected-residents.ts";
import type { BuriedTask } from "./shim-binary.ts";
import type { ShimClient, ShimConnection } from "./shim-connection.ts";
import type { Shard, Standby } from "./standby.ts";

/** Who lives in the shims, as the task-manager knows it. */
export interface Residents {
	of(namespace: string, shim: string): readonly Resident[];
	/** Tells a container's task and its execs. Resolves when it is durable. */
	tell(task: TaskIdentity, fact: ShimFact): Promise<void>;
}

export interface Resident {
	readonly id: string;
	readonly bundle: string;
}

/** A container that needs a shim. */
export interface ShimSeeker extends TaskIdentity {
	readonly runtime: string;
	readonly options?: AnyValue | undefined;
	readonly bundle: string;
	/** The bundle's files are there: a binary is not started before. */
	readonly bundleReady: Promise<void>;
	/** CRI sandbox; empty for none. */
	readonly sandboxId: string;
	readonly signal: AbortSignal;
}

/** Which containers share one of our own shims: up to a shard's size, a pod's, or each its own. */
export type Grouping = "shard" | "pod" | "container";

export interface ShimsOptions {
	readonly system: System;
	readonly residents: Residents;
	readonly standby: Standby;
	/** Runtime names that our own shards serve. */
	readonly ownRuntimes: ReadonlySet<string>;
	readonly grouping: Grouping;
	/** Tasks per shard. */
	readonly shardSize: number;
	/** Milliseconds that a shard without containers is kept for the next one. */
	readonly idleMs: number;
	readonly connect: (address: string, timeoutMs: number) => Promise<ShimClient>;
	/** Starts a foreign shim; answers where it listens. */
	readonly startBinary: (
		link: Pick<ShimLinkContext, "namespace" | "shim" | "runtime" | "bundle" | "options">,
		signal: AbortSignal,
	) => Promise<{ readonly version: number; readonly address: string }>;
	/** Reads what a foreign shim logs: it waits for a reader at its start, and whenever the pipe is full. */
	readonly readLog: (link: Pick<ShimLinkContext, "namespace" | "shim" | "bundle">) => Promise<{ close(): void }>;
	/** Has a foreign shim's binary remove what its dead process has left. */
	readonly deleteBinary: (
		link: Pick<ShimLinkContext, "namespace" | "shim" | "runtime" | "bundle">,
		signal: AbortSignal,
	) => Promise<BuriedTask>;
	/** Has our own binary remove what a dead shard has left of a container, if it has left anything. */
	readonly clearOwn: (
		link: Pick<ShimLinkContext, "namespace" | "shim" | "bundle">,
		signal: AbortSignal,
	) => Promise<void>;
	/** Milliseconds since 1970. */
	readonly now: () => number;
	readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
}

const flushMs = 2_000;
/** Links that ended between being found and being asked. */
const tries = 3;

/** All shims: finds or starts one for a container, and gives what calls it. A supervisor `/shims` with an actor for each. */
export class Shims {
	readonly #options: ShimsOptions;
	readonly #connections = new Map<string, ShimConnection>();
	readonly #logic: ReturnType<typeof shimLinkActor>;
	/** What each link was started with. */
	readonly #links = new Map<string, ShimLinkInput>();
	readonly #logs = new Map<string, { close(): void }>();
	/** From here on the end of the shim is these containers' business too: their records do not name it yet. */
	readonly #expected = new ExpectedResidents();
	/** Ends the wait of a shim that nothing lives in. */
	readonly #idle = new Map<string, () => void>();

	private constructor(options: ShimsOptions) {
		this.#options = options;
		const world: ShimLinkWorld = {
			connect: options.connect,
			boot: async (link, signal) => {
				await this.#readLog(link, signal);
				return options.startBinary(link, signal);
			},
			connected: (link, connection, signal) => this.#connected(link, connection, signal),
			disconnected: (link) => void this.#connections.delete(idOf(link)),
			lost: (link) => this.#lost(link),
			settle: (link, signal) => this.#settle(link, signal),
		};
		this.#logic = shimLinkActor(world);
	}

	/** Starts the supervisor with the links that an earlier daemon has left. Connecting goes on in the background. */
	static async start(options: ShimsOptions): Promise<Shims> {
		const shims = new Shims(options);
		await options.system.root.start(
			supervisorChild({
				id: "shims",
				supervisor: {
					strategy: "one_for_one",
					intensity: 100,
					periodMs: 10_000,
					children: (reader) => shims.#restored(reader),
				},
			}),
		);
		options.standby.keepAlive(() => [...shims.#links.values()].some(({ kind }) => kind === "shard"));
		return shims;
	}

	/** The shim in which a container is to be created, connected. Its name is for the container's record. */
	async assign(seeker: ShimSeeker): Promise<{ readonly shim: string; readonly connection: ShimConnection }> {
		const own = this.isOwn(seeker.runtime);
		for (let attempt = 1; ; attempt++) {
			try {
				const input = own ? await this.#shardFor(seeker) : await this.#binaryFor(seeker);
				await this.#connect(input, seeker.signal);
				this.#expected.add(idOf(input), seeker);
				return { shim: input.shim, connection: this.connection(seeker.namespace, input.shim) };
			} catch (reason) {
				// The shard died after the standby had named it: it names another now.
				const died = reason instanceof DaemonError && reason.code === "Unavailable" && own;
				if (!died || attempt === tries || seeker.signal.aborted) throw reason;
			}
		}
	}

	/** The container's record names the shim, or nothing is left of it. */
	arrived({ namespace, id }: TaskIdentity, shim: string): void {
		this.#expected.remove(idOf({ namespace, shim }), id);
	}

	/** Who lives in a shim, and who is about to. */
	#residentsOf(namespace: string, shim: string): readonly Resident[] {
		const there = this.#options.residents.of(namespace, shim);
		const expected = this.#expected.of(idOf({ namespace, shim }));
		return [...there, ...expected.filter(({ id }) => !there.some((resident) => resident.id === id))];
	}

	isOwn(runtime: string): boolean {
		return this.#options.ownRuntimes.has(runtime);
	}

	/** Calls to a shim. Unavailable while there is no connection, NotFound if the shim is no more. */
	connection(namespace: string, shim: string): ShimConnection {
		const id = idOf({ namespace, shim });
		const connection = this.#connections.get(id);
		if (connection !== undefined) return connection;
		const known = this.#supervisor.find(id) !== undefined;
		throw new DaemonError(
			known ? "Unavailable" : "NotFound",
			{ kind: "shim", namespace, id: shim },
			known ? "is not connected" : "is no more",
		);
	}

	/** Has the shims report what they have kept while no daemon listened. Call it when the ttrpc socket is open. */
	async flush(): Promise<void> {
		const shards = [...this.#links.values()].filter(({ kind }) => kind === "shard");
		const flushes = shards.map(async ({ namespace, shim }) => {
			await this.connection(namespace, shim).shard.flush({}, { timeoutMs: flushMs });
		});
		for (const result of await Promise.allSettled([this.#options.standby.flush(), ...flushes]))
			if (result.status === "rejected")
				this.#options.warn({ reason: String(result.reason) }, "a shim reports later what it has kept");
	}

	/** Waits, up to `timeoutMs`, until a shim can be called. */
	async reach(namespace: string, shim: string, timeoutMs: number, signal: AbortSignal): Promise<ShimConnection> {
		const id = idOf({ namespace, shim });
		if (!this.#connections.has(id))
			await this.#supervisor.find(id)?.ask({ type: "connect" }, { deadlineMs: timeoutMs, signal });
		return this.connection(namespace, shim);
	}

	/** The shim that may hold a container of which only the id is known. */
	async locate({ namespace, id }: TaskIdentity): Promise<string | undefined> {
		if (this.#supervisor.find(idOf({ namespace, shim: id })) !== undefined) return id;
		const shard = await this.#options.standby.shardOf(namespace, id);
		if (shard === undefined) return this.#askAllShards(namespace, id);
		await this.#connect(this.#shardInput(namespace, "", shard), AbortSignal.timeout(shimLinkLimits.connect));
		return shard.shim;
	}

	/** A standby that was started anew does not know what is being created. */
	async #askAllShards(namespace: string, id: string): Promise<string | undefined> {
		const shards = [...this.#links.values()].filter((link) => link.kind === "shard" && link.namespace === namespace);
		const answers = shards.map(async ({ shim }) => {
			const timeoutMs = shimLinkLimits.connect;
			const { shard } = await this.reach(namespace, shim, timeoutMs, AbortSignal.timeout(timeoutMs));
			return { shim, containers: (await shard.info({}, { timeoutMs })).containers };
		});
		for (const answer of await Promise.allSettled(answers)) // one that is dead holds nothing
			if (answer.status === "fulfilled" && answer.value.containers.includes(id)) return answer.value.shim;
		return undefined;
	}

	/**
	 * Removes what no shim that lives can remove of a container: by the delete contract, which needs none. `runtime` is known
	 * for a container whose foreign shim could not be asked.
	 */
	async clear(
		{ namespace, id, bundle }: TaskIdentity & { readonly bundle: string },
		runtime: string | undefined,
		signal: AbortSignal,
	): Promise<void> {
		const link = { namespace, shim: id, bundle };
		const { clearOwn, deleteBinary } = this.#options;
		if (runtime === undefined || this.isOwn(runtime)) await clearOwn(link, signal);
		else await deleteBinary({ ...link, runtime }, signal);
	}

	/** A container has left: a shim of its own ends, a shard without containers does so after a while. */
	release(namespace: string, shim: string): void {
		const id = idOf({ namespace, shim });
		const { system, idleMs, warn } = this.#options;
		const link = this.#links.get(id);
		if (link === undefined || this.#residentsOf(namespace, shim).length > 0) return;
		this.#idle.get(id)?.();
		const retire = (): void => {
			this.#idle.delete(id);
			if (this.#residentsOf(namespace, shim).length > 0) return;
			this.#supervisor
				.find(id)
				?.ask({ type: "retire" }, { deadlineMs: shimLinkLimits.retire * 2 })
				.then(() => {
					if (this.#links.get(id) === link) this.#links.delete(id);
				})
				.catch((reason: unknown) => {
					if (reason instanceof DaemonError && reason.code === "FailedPrecondition") this.release(namespace, shim);
					else warn({ shim: id, reason: String(reason) }, "a shim was not asked to end");
				});
		};
		this.#idle.set(id, system.clock.after(link.kind === "shard" ? idleMs : 0, retire));
	}

	/** Shims of an earlier daemon that nobody lives in any more end as well. Call it when the tasks are reconciled. */
	releaseEmpty(): void {
		for (const { namespace, shim } of this.#links.values()) this.release(namespace, shim);
	}

	/** Closes the connections' timers; shims live on. */
	stop(): void {
		for (const cancel of this.#idle.values()) cancel();
		this.#idle.clear();
		this.#options.standby.close();
	}

	get #supervisor() {
		const supervisor = this.#options.system.supervisor("/shims");
		if (supervisor === undefined)
			throw new DaemonError("Unavailable", { kind: "supervisor", id: "/shims" }, "is not running");
		return supervisor;
	}

	#restored(reader: Reader) {
		return [...reader.entries("v1/")]
			.filter(([key]) => key.split("/")[2] === "shim")
			.map(([, record]) => {
				const { context } = record as unknown as { readonly context: ShimLinkContext };
				this.#links.set(idOf(context), context);
				return restoredChild({
					id: idOf(context),
					logic: this.#logic,
					identity: identityOf(context),
					restart: "transient",
				});
			});
	}

	async #shardFor({ namespace, id, sandboxId, options }: ShimSeeker): Promise<ShimLinkInput> {
		const { grouping, shardSize, standby } = this.#options;
		const together = grouping === "container" ? id : grouping === "pod" ? sandboxId : "";
		const group = groupInCgroup(together, runtimeOptions(options).shimCgroup);
		const request = { namespace, group, containerId: id, shardSize, fresh: false };
		return this.#shardInput(namespace, group, await standby.shardFor(request));
	}

	#shardInput(namespace: string, group: string, { shim, address, pid }: Shard): ShimLinkInput {
		const nothing = { runtime: "", bundle: "", options: new Uint8Array() };
		return { kind: "shard", namespace, shim, group, address, pid, ...nothing };
	}

	async #binaryFor({ namespace, id, runtime, bundle, options, bundleReady }: ShimSeeker): Promise<ShimLinkInput> {
		await bundleReady;
		const bytes = options === undefined ? new Uint8Array() : Any.encode(options).finish();
		const own = { namespace, shim: id, runtime, bundle, options: bytes };
		return { kind: "binary", group: "", address: "", pid: 0, ...own };
	}

	async #connect(input: ShimLinkInput, signal: AbortSignal): Promise<void> {
		const id = idOf(input);
		for (let attempt = 1; ; attempt++) {
			const supervisor = this.#supervisor;
			this.#idle.get(id)?.();
			try {
				const link = supervisor.find(id) ?? (await this.#startLink(input));
				if (this.#connections.has(id)) return;
				await link.ask({ type: "connect" }, { deadlineMs: shimLinkLimits.boot + shimLinkLimits.connect, signal });
				return;
			} catch (reason) {
				const gone = reason instanceof DaemonError && (reason.code === "NotFound" || reason.code === "AlreadyExists");
				if (!gone || attempt === tries) throw reason;
				await new Promise((resolve) => setImmediate(resolve)); // the ended link is being forgotten
			}
		}
	}

	#startLink(input: ShimLinkInput) {
		this.#links.set(idOf(input), input);
		return this.#supervisor.start(
			child({ id: idOf(input), logic: this.#logic, identity: identityOf(input), restart: "transient", input }),
		);
	}

	/** Facts that the shim has kept come before the question what became of its containers. */
	async #connected(link: ShimLinkContext, connection: ShimConnection, signal: AbortSignal): Promise<void> {
		this.#connections.set(idOf(link), connection);
		if (link.kind === "binary")
			await this.#readLog(link, signal).catch((reason: unknown) => {
				this.#options.warn({ shim: idOf(link), reason: String(reason) }, "a shim's log is not read");
			});
		const there = this.#options.residents.of(link.namespace, link.shim);
		if (there.length === 0) return;
		if (link.kind === "shard")
			await connection.shard.flush({}, { timeoutMs: flushMs }).catch((reason: unknown) => {
				this.#options.warn({ shim: idOf(link), reason: String(reason) }, "a shim did not report what it has kept");
			});
		this.#tell(link, { type: "shim.adopted", shim: link.shim });
	}

	/** From the start, or the reconnection, to the end of the link. */
	async #readLog(link: ShimLinkContext, signal: AbortSignal): Promise<void> {
		const id = idOf(link);
		if (this.#logs.has(id)) return;
		const log = await this.#options.readLog(link);
		const close = (): void => {
			if (this.#logs.get(id) === log) this.#logs.delete(id);
			log.close();
		};
		if (signal.aborted) return close();
		this.#logs.set(id, log);
		signal.addEventListener("abort", close, { once: true });
	}

	#lost(link: ShimLinkContext): void {
		this.#tell(link, { type: "shim.lost" });
	}

	#tell({ namespace, shim }: ShimLinkContext, fact: ShimFact): void {
		const { residents, warn } = this.#options;
		for (const { id } of this.#residentsOf(namespace, shim))
			residents
				.tell({ namespace, id }, fact)
				.catch((reason: unknown) => warn({ namespace, id, reason: String(reason) }, `${fact.type} was not taken`));
	}

	/** An heir for the containers of a dead shard; a grave for those of a foreign shim. */
	async #settle(link: ShimLinkContext, signal: AbortSignal): Promise<void> {
		const estate: Estate = {
			...this.#options,
			residentsOf: () => this.#residentsOf(link.namespace, link.shim),
			open: async (shard) => {
				await this.#connect(this.#shardInput(link.namespace, link.group, shard), signal);
				return this.connection(link.namespace, shard.shim);
			},
			release: (shim) => this.release(link.namespace, shim),
		};
		if (estate.residentsOf().length > 0)
			await (link.kind === "shard" ? inherit(estate, link, signal) : bury(estate, link, signal));
		this.#links.delete(idOf(link));
	}
}

const idOf = ({ namespace, shim }: { readonly namespace: string; readonly shim: string }): string =>
	`${namespace}/${shim}`;
const identityOf = ({ namespace, shim }: { readonly namespace: string; readonly shim: string }) => ({
	kind: "shim",
	namespace,
	id: shim,
});
