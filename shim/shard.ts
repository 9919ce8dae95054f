import { existsSync, mkdirSync, openSync } from "node:fs";
import { DaemonError } from "../src/errors/daemon-error.ts";
import type { CreateTaskRequest } from "../src/gen/containerd/runtime/task/v2/shim.ts";
import type { ChildExit } from "../src/sys/child-exit.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { listens } from "../src/sys/unix-socket.ts";
import { adoptContainer } from "./adopt-container.ts";
import type { Container, ContainerContext } from "./container.ts";
import { type ContainerRecord, readRecord, recordPath, writeRecord } from "./container-record.ts";
import { createContainer } from "./create-container.ts";
import { type Exit, processKey } from "./exit.ts";
import { ExitJournal } from "./exit-journal.ts";
import type { Log } from "./log.ts";
import { defaultRuntime } from "./oci-runtime.ts";
import type { ContainerProcess } from "./process.ts";
import { Publisher } from "./publisher.ts";
import { Reaper } from "./reaper.ts";
import { runtimesEnded } from "./runtime-under-way.ts";
import type { Places, Settings } from "./settings.ts";
import { type ShardIdentity, StandbyLink } from "./standby-link.ts";
import { StrayJournal } from "./stray-journal.ts";
import { now } from "./time.ts";

export interface ShardOptions {
	readonly identity: ShardIdentity;
	readonly places: Places;
	readonly settings: Settings;
	readonly kernel: Kernel;
	readonly log: Log;
	/** Called when the last container is gone and the daemon has asked the shard to end. */
	readonly onEnd: () => void;
}

interface ContainerBundle {
	readonly containerId: string;
	readonly bundle: string;
}

interface AdoptionResult {
	/** Why it could not be adopted; empty if it was. */
	readonly problem: string;
	readonly again: boolean;
}

const adopted: AdoptionResult = { problem: "", again: false };
const flushBeforeEndMs = 5_000;

/** Up to a shard's worth of containers, all of one namespace; parent of their processes. */
export class Shard {
	readonly identity: ShardIdentity;
	readonly standby: StandbyLink;
	readonly reaper: Reaper;
	readonly publisher: Publisher;
	readonly context: ContainerContext;
	readonly #containers = new Map<string, Container>();
	readonly #creating = new Set<string>();
	/** Running processes by pid: children of ours, not adopted ones. */
	readonly #processes = new Map<number, readonly [Container, ContainerProcess]>();
	/** Exits that were told while their containers were being adopted. */
	readonly #early = new Map<string, Exit>();
	/** Containers that are being adopted, with what will be said of it. */
	readonly #adoptions = new Map<string, Promise<AdoptionResult>>();
	readonly #journal: ExitJournal;
	readonly #onEnd: () => void;
	readonly #places: Places;

	constructor({ identity, places, settings, kernel, log, onEnd }: ShardOptions) {
		this.identity = identity;
		this.#onEnd = onEnd;
		this.#places = places;
		mkdirSync(places.sockets, { recursive: true, mode: 0o711 });
		this.#journal = new ExitJournal(places.journal(identity.shard));
		this.publisher = new Publisher(settings.eventsAddress, log);
		this.reaper = new Reaper(kernel, (exits) => this.#record(exits), log, false, new StrayJournal(this.#journal));
		this.standby = new StandbyLink(identity, places, kernel, log, () => this.#holdings());
		this.context = {
			kernel,
			log,
			reaper: this.reaper,
			nothing: openSync("/dev/null", "r+"),
			environment: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
			sockets: places.sockets,
			...(settings.openFiles === undefined ? {} : { openFiles: settings.openFiles }),
			timeoutMs: settings.runtimeTimeoutMs,
			shard: identity.shard,
			namespace: identity.namespace,
			runtimeRoot: places.runtimeRoot,
			defaultRuntime: settings.runtime ?? defaultRuntime(),
			standby: {
				hold: (container, process) => {
					this.#processes.set(process.pid, [container, process]);
					return this.standby.hold(container, process);
				},
				keepTerminal: (...args) => this.standby.keepTerminal(...args),
				savedTerminal: (...args) => this.standby.savedTerminal(...args),
				releaseStdin: (...args) => this.standby.releaseStdin(...args),
				releaseStdio: (...args) => this.standby.releaseStdio(...args),
				releaseProcess: (...args) => this.standby.releaseProcess(...args),
				adopt: (ids) => this.standby.adopt(ids),
			},
			record: (facts) => this.#journal.append(facts),
			acknowledge: (seq) => this.#journal.acknowledge(seq),
			reportsAll: settings.reports === "all",
			publish: (containerId, report) => this.publisher.publish(containerId, report),
		};
	}

	get containers(): readonly Container[] {
		return [...this.#containers.values()];
	}

	find(id: string): Container | undefined {
		return this.#containers.get(id);
	}

	container(id: string): Container {
		const found = this.#containers.get(id);
		if (found === undefined) throw new DaemonError("NotFound", this.#task(id), "not found");
		return found;
	}

	/** A shard is one namespace's: a call for another has gone astray. */
	requireNamespace(namespace: string | undefined, id: string): void {
		if (namespace !== undefined && namespace !== this.identity.namespace)
			throw new DaemonError("NotFound", { kind: "task", namespace, id }, "not in this shard's namespace");
	}

	async create(request: CreateTaskRequest, timeoutMs: number | undefined): Promise<Container> {
		const { id } = request;
		await this.settled(id);
		const present = this.#containers.get(id);
		if (present !== undefined) this.#forgetIfDisowned(present);
		if (this.#containers.has(id) || this.#creating.has(id))
			throw new DaemonError("AlreadyExists", this.#task(id), "already exists");
		this.#creating.add(id);
		try {
			const container = await createContainer(request, this.context, timeoutMs, (made) => {
				this.#containers.set(id, made);
			});
			return container;
		} catch (reason) {
			this.#containers.delete(id);
			this.standby.releaseProcess(id, ""); // its place in the shard is free again
			throw reason;
		} finally {
			this.#creating.delete(id);
		}
	}

	forget(container: Container): void {
		this.#containers.delete(container.id);
		for (const [pid, [owner]] of this.#processes) if (owner === container) this.#processes.delete(pid);
	}

	/** Lets go of containers that are no longer this shard's, as their records say, when it has seen their processes end. */
	forgetDisowned(): void {
		for (const container of this.containers) this.#forgetIfDisowned(container);
	}

	#forgetIfDisowned(container: Container): void {
		const { id, processes } = container;
		const lives = processes.some(({ pid, exit }) => pid !== 0 && exit === undefined); // its exit is ours to tell
		if (lives || this.#creating.has(id) || this.#adoptions.has(id) || !container.isDisowned) return;
		this.context.log("warning", "a container was deleted without its shard", { id });
		container.leave();
		container.oom?.close();
		for (const process of processes) {
			void process.stdio?.close();
			process.letGo();
			// By its name: another shard's of the same name stays held.
			if (!existsSync(recordPath(container.bundle))) this.standby.releaseProcess(id, process.execId);
		}
		this.forget(container);
	}

	/**
	 * Takes over the containers of a dead shard. The record in each bundle says all; the standby knows what has ended. One that
	 * another living shard has taken meanwhile stays there: two would tell its exit.
	 */
	async adopt(bundles: readonly ContainerBundle[]) {
		const elsewhere = new Map<string, string>();
		const fresh = bundles.filter(({ containerId, bundle }) => {
			if (this.#containers.has(containerId) || this.#creating.has(containerId)) return false; // also one of the same name
			if (this.#adoptions.has(containerId)) return false;
			const holder = this.#claim(bundle);
			if (holder !== undefined) elsewhere.set(containerId, holder);
			return holder === undefined;
		});
		if (fresh.length > 0) this.#takeOver(fresh);
		return await Promise.all(
			bundles.map(async ({ containerId }) => {
				const shardId = elsewhere.get(containerId) ?? this.identity.shard;
				const { problem, again } = (await this.#adoptions.get(containerId)) ?? adopted;
				const { init, lostStdio: lost = [] } = this.#containers.get(containerId) ?? {};
				const address = `unix://${this.#places.shardSocket(shardId)}`;
				return { containerId, shardId, address, pid: init?.pid ?? 0, problem, again, lost };
			}),
		);
	}

	/** Resolves when the container is not being adopted (any more): only then it can be said whether it is here. */
	async settled(id: string): Promise<void> {
		await this.#adoptions.get(id);
	}

	#takeOver(bundles: readonly ContainerBundle[]): void {
		const known = this.#whatIsKnown(bundles.map(({ containerId }) => containerId));
		const ended = runtimesEnded(
			this.context.kernel,
			bundles.map(({ bundle }) => bundle),
		);
		for (const { containerId, bundle } of bundles) {
			const ready = Promise.all([known, ended.get(bundle)]).then(([exits]) => exits);
			this.#adoptions.set(containerId, this.#tryToAdopt(containerId, bundle, ready));
		}
	}

	async #whatIsKnown(containerIds: readonly string[]): Promise<ReadonlyMap<string, Exit>> {
		const exits = await this.standby.adopt(containerIds);
		return new Map(exits.map((exit) => [processKey(exit.containerId, exit.execId), exit]));
	}

	/** Never rejects. */
	async #tryToAdopt(id: string, bundle: string, known: Promise<ReadonlyMap<string, Exit>>): Promise<AdoptionResult> {
		try {
			await this.#adoptOne(id, bundle, await known);
			return adopted;
		} catch (reason) {
			const { code, message } = DaemonError.from(reason, this.#task(id));
			return { problem: message, again: code !== "FailedPrecondition" };
		} finally {
			this.#adoptions.delete(id);
			if (this.#adoptions.size === 0) this.#early.clear();
		}
	}

	/** Enters itself as the shard of the container, unless another one lives that has: then its name. */
	#claim(bundle: string): string | undefined {
		const { kernel } = this.context;
		const { shard } = this.identity;
		const record = readableRecord(bundle);
		if (record === undefined || record.shard === shard) return undefined;
		if (listens(kernel, this.#places.shardSocket(record.shard))) return record.shard;
		writeRecord(bundle, { ...record, shard });
		return undefined;
	}

	async #adoptOne(id: string, bundle: string, known: ReadonlyMap<string, Exit>): Promise<Container> {
		const exitSeen = (exit: Exit) => this.#exitSeen(exit);
		let registered = false;
		try {
			const container = await adoptContainer(id, bundle, this.context, known, exitSeen, (found) => {
				registered = true;
				this.#containers.set(id, found);
			});
			for (const { execId } of container.processes) {
				const early = this.#early.get(processKey(id, execId));
				if (early !== undefined) this.#exitSeen(early);
			}
			return container;
		} catch (reason) {
			if (registered) this.#containers.delete(id);
			throw reason;
		}
	}

	/** Exits of adopted processes, from the standby. Throws NotFound for one that is nobody's here: it is not ours to report. */
	exitsSeen(exits: readonly Exit[]): void {
		for (const exit of exits)
			if (this.#processOf(exit) !== undefined) this.#exitSeen(exit);
			else if (this.#adoptions.size > 0) this.#early.set(processKey(exit.containerId, exit.execId), exit);
			else throw new DaemonError("NotFound", this.#task(exit.containerId), `has no process ${exit.pid}`);
	}

	#processOf({ containerId, execId, pid }: Exit): readonly [Container, ContainerProcess] | undefined {
		const container = this.#containers.get(containerId);
		const process = container?.processes.find((candidate) => candidate.execId === execId && candidate.pid === pid);
		return container === undefined || process === undefined ? undefined : [container, process];
	}

	/** It has no containers. */
	get idle(): boolean {
		return this.#containers.size === 0 && this.#creating.size === 0 && this.#adoptions.size === 0;
	}

	/** Ends the shard if it has no containers; a no-op while it has (containerd asks after each delete). */
	async shutdown(): Promise<void> {
		this.forgetDisowned();
		if (!this.idle || !(await this.standby.leave()) || !this.idle) return;
		const pending = await this.publisher.flush(flushBeforeEndMs);
		this.standby.close();
		await this.publisher.close();
		if (pending === 0) this.#journal.remove();
		else this.#journal.close(); // the standby finds it and goes on reporting
		setImmediate(this.#onEnd);
	}

	#holdings(): readonly (readonly [Container, ContainerProcess])[] {
		return this.containers.flatMap((container) =>
			container.processes.filter(({ pid }) => pid !== 0).map((process) => [container, process] as const),
		);
	}

	/** Children of ours have ended: durable first, then everything else. Throws if the journal refuses. */
	#record(children: readonly ChildExit[]): void {
		const at = now();
		const ended = children.flatMap(({ pid, status }) => {
			const found = this.#processes.get(pid);
			if (found === undefined) return [];
			const [container, process] = found;
			return [{ container, process, exit: exitOf(container, process, status, at) }];
		});
		this.#exited(ended);
		for (const { pid } of children) this.#processes.delete(pid);
	}

	#exitSeen(exit: Exit): void {
		const [container, process] = this.#processOf(exit) ?? [];
		if (container === undefined || process === undefined || process.exit !== undefined) return;
		if (exit.unknown)
			this.context.log("warning", "the exit status is unknown: everybody who knew it is dead", {
				id: exit.containerId,
				execId: exit.execId,
				pid: exit.pid,
			});
		this.#exited([{ container, process, exit }]);
	}

	#exited(ended: readonly { container: Container; process: ContainerProcess; exit: Exit }[]): void {
		const { namespace } = this.identity;
		const entries = this.#journal.append(ended.map(({ exit }) => ({ kind: "exit", namespace, exit })));
		for (const [index, { container, process, exit }] of ended.entries()) {
			const entry = entries[index];
			if (entry !== undefined) container.exited(process, entry, exit);
		}
	}

	#task(id: string) {
		return { kind: "task", namespace: this.identity.namespace, id };
	}
}

const exitOf = (container: Container, { execId, pid }: ContainerProcess, status: number, at: bigint): Exit => ({
	containerId: container.id,
	execId,
	pid,
	status,
	at,
	unknown: false,
});

/** Undefined for a broken one too: adoption says what is wrong with it. */
function readableRecord(bundle: string): ContainerRecord | undefined {
	try {
		return readRecord(bundle);
	} catch (reason) {
		if (reason instanceof SyntaxError) return undefined;
		throw reason;
	}
}
