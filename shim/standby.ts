import { existsSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DaemonError } from "../src/errors/daemon-error.ts";
import { type HoldRequest, type RegisterRequest, ShardDefinition } from "../src/gen/troupe/shim/v1/shim.ts";
import type { ChildExit } from "../src/sys/child-exit.ts";
import type { Kernel, Poll } from "../src/sys/kernel.ts";
import { openPidfd } from "../src/sys/pidfd.ts";
import { spawn } from "../src/sys/spawn.ts";
import { listens, listenUnix } from "../src/sys/unix-socket.ts";
import { connect } from "../src/ttrpc/client.ts";
import { type Exit, toWire } from "./exit.ts";
import { type Entry, ExitJournal, isReported, type ReportedFact } from "./exit-journal.ts";
import { type Log, reasonOf } from "./log.ts";
import { Publisher } from "./publisher.ts";
import { Reaper } from "./reaper.ts";
import { reportOf } from "./reports.ts";
import type { Places, Settings } from "./settings.ts";
import { cgroupDirectories, cgroupOfGroup, enterCgroup } from "./shim-cgroup.ts";
import { terminalKey } from "./standby-link.ts";
import { StrayJournal, straysIn } from "./stray-journal.ts";
import { TerminalStore } from "./terminal-store.ts";
import { now } from "./time.ts";
import { Witness } from "./witness.ts";

export interface ShardOfStandby {
	readonly id: string;
	readonly namespace: string;
	readonly group: string;
	readonly address: string;
	readonly pid: number;
	readonly child: boolean;
	/** Containers given to it that it does not hold yet, with the time. */
	readonly assigned: Map<string, number>;
	readonly pidfd: number;
	readonly poll: Poll;
	leaving: boolean;
}

export interface StandbyOptions {
	readonly kernel: Kernel;
	readonly places: Places;
	readonly settings: Settings;
	readonly log: Log;
	/** Starts a shard process: the program and its words, without what names the shard. */
	readonly shardCommand: { readonly file: string; readonly args: readonly string[] };
}

/** A container that was given a shard and never came has made room again after this time. */
const assignmentMs = 60_000;
const tellShardMs = 2_000;

/**
 * Parent of the shards and witness of what they leave behind. It runs no containers: what can crash it is little. When a
 * shard dies its processes become children of the standby, which reaps and journals their exits, and reports them until
 * another shard adopts the containers.
 */
export class Standby {
	readonly shards = new Map<string, ShardOfStandby>();
	readonly publisher: Publisher;
	readonly reaper: Reaper;
	readonly #witnesses = new Map<string, Witness>();
	readonly #journal: ExitJournal;
	readonly #terminals: TerminalStore;
	readonly #options: StandbyOptions;
	readonly #nothing: number;
	readonly #logFile: number;
	#shardNumber = 0;

	constructor(options: StandbyOptions) {
		const { kernel, places, settings, log } = options;
		this.#options = options;
		mkdirSync(places.sockets, { recursive: true, mode: 0o711 });
		this.#nothing = openSync("/dev/null", "r+");
		this.#logFile = openSync(places.log, "a", 0o600);
		this.#journal = new ExitJournal(places.journal("standby"));
		this.#terminals = new TerminalStore(kernel, places.terminalSocket, log);
		this.publisher = new Publisher(settings.eventsAddress, log);
		const left = this.#journal.pending; // by a standby that was killed
		this.reaper = new Reaper(kernel, (exits) => this.#record(exits), log, true, new StrayJournal(this.#journal));
		for (const stray of straysIn(left)) this.reaper.keep(stray);
		for (const entry of left.filter(isReported)) {
			this.#publish(entry);
			if (entry.fact.kind === "exit") this.#noteExit("", entry.fact.namespace, entry.fact.exit);
		}
		this.inheritAbandoned();
	}

	/** Orphans: their shard is dead and nobody has adopted them. */
	get orphans(): readonly Witness[] {
		return [...this.#witnesses.values()].filter(({ shard }) => !this.shards.has(shard));
	}

	get idle(): boolean {
		return (
			this.shards.size === 0 && this.publisher.pending === 0 && this.orphans.every(({ exit }) => exit !== undefined)
		);
	}

	/** Those that it holds, and those that were given to it. */
	containersOf(shard: string): readonly string[] {
		const held = [...this.#witnesses.values()].filter((witness) => witness.shard === shard && witness.execId === "");
		const assigned = this.shards.get(shard)?.assigned.keys() ?? [];
		return [...new Set([...held.map(({ containerId }) => containerId), ...assigned])];
	}

	/** A shard of the group with room, or a new one. */
	shardFor(namespace: string, group: string, containerId: string, size: number, fresh: boolean): ShardOfStandby {
		const fits = (shard: ShardOfStandby) =>
			shard.namespace === namespace && shard.group === group && !shard.leaving && this.#load(shard) < size;
		const shard = (fresh ? undefined : [...this.shards.values()].find(fits)) ?? this.#startShard(namespace, group);
		if (containerId !== "") shard.assigned.set(containerId, Date.now());
		return shard;
	}

	/** A shard says who it is and what it holds: when it starts, and when this standby is a new one. */
	register(request: RegisterRequest): void {
		const { shardId, namespace, group, address, pid } = request;
		if (!this.shards.has(shardId)) this.#addShard(shardId, { namespace, group, address, pid, child: false });
		for (const held of request.processes) this.hold(held);
	}

	hold(request: HoldRequest): void {
		const key = terminalKey(request.namespace, request.containerId, request.execId);
		const holder = this.shards.get(request.shardId);
		if (holder !== undefined) holder.leaving = false; // it got something to hold before it could end
		if (request.execId === "") holder?.assigned.delete(request.containerId);
		const present = this.#witnesses.get(key);
		if (present !== undefined && present.pid === request.pid) {
			present.shard = request.shardId;
			return;
		}
		present?.close();
		const witness = new Witness(this.#options.kernel, request);
		this.#witnesses.set(key, witness);
		this.reaper.watch(witness.pid, witness.there);
		// The shard may have died before its word was read.
		if (holder === undefined && witness.exit === undefined) witness.watch((exit) => this.#seen([[witness, exit]]));
	}

	witness(namespace: string, containerId: string, execId: string): Witness | undefined {
		return this.#witnesses.get(terminalKey(namespace, containerId, execId));
	}

	/** Lets go of a process. */
	release(namespace: string, containerId: string, execId: string): void {
		const key = terminalKey(namespace, containerId, execId);
		const witness = this.#witnesses.get(key);
		if (execId === "") for (const { assigned } of this.shards.values()) assigned.delete(containerId);
		this.#terminals.drop(key);
		if (witness === undefined) return;
		witness.close();
		this.reaper.unwatch(witness.pid);
		this.#witnesses.delete(key);
	}

	/** Gives orphans to another shard. Answers with the exits that the standby has seen: it goes on reporting those. */
	adopt(namespace: string, shard: string, containerIds: readonly string[]): readonly Exit[] {
		this.inheritAbandoned();
		const wanted = new Set(containerIds);
		const adopted = [...this.#witnesses.values()].filter(
			(witness) => witness.namespace === namespace && wanted.has(witness.containerId),
		);
		for (const witness of adopted) witness.shard = shard;
		return adopted.flatMap(({ exit }) => exit ?? []);
	}

	/** Shards that died while there was no standby, or before they had told this one: they left journals and sockets, too. */
	inheritAbandoned(): void {
		const { places, kernel, log } = this.#options;
		const isDead = (id: string) => !this.shards.has(id) && !listens(kernel, places.shardSocket(id));
		for (const name of readdirSync(places.journals)) {
			const [, id = "standby", unfinished] = /^(.+)\.jsonl(\.new)?$/.exec(name) ?? [];
			if (id === "standby" || !isDead(id)) continue;
			if (unfinished === undefined) {
				log("warning", "the journal of a shard that nobody knew is read", { shard: id });
				this.#inherit(id);
			} else rmSync(join(places.journals, name));
		}
		for (const name of readdirSync(places.sockets)) {
			const id = places.shardOfSocket(name);
			const [, consoleOf] = /^c-(\d+)-\d+$/.exec(name) ?? []; // where a runtime was to send a terminal
			const abandoned = id === undefined ? consoleOf !== undefined && !existsSync(`/proc/${consoleOf}`) : isDead(id);
			if (abandoned) rmSync(join(places.sockets, name), { force: true });
		}
	}

	/** Nobody waits for this container any more. */
	forget(namespace: string, containerId: string): readonly Exit[] {
		const held = [...this.#witnesses.values()].filter(
			(witness) => witness.namespace === namespace && witness.containerId === containerId,
		);
		this.publisher.drop(lane(namespace, containerId));
		for (const { execId } of held) this.release(namespace, containerId, execId);
		return held.flatMap(({ exit }) => exit ?? []);
	}

	/** Refuses with FailedPrecondition if a container is on its way to the shard. */
	leave(id: string): void {
		const shard = this.shards.get(id);
		if (shard === undefined) return;
		this.#forgetStaleAssignments(shard);
		if (shard.assigned.size > 0)
			throw new DaemonError("FailedPrecondition", { kind: "shard", id }, "a container was just given to it");
		shard.leaving = true;
	}

	async close(): Promise<void> {
		for (const witness of this.#witnesses.values()) witness.close();
		this.#terminals.close();
		await this.publisher.close();
		if (!this.#journal.pending.some(isReported)) this.#journal.remove();
		else this.#journal.close();
	}

	#load(shard: ShardOfStandby): number {
		this.#forgetStaleAssignments(shard);
		return this.containersOf(shard.id).length;
	}

	#forgetStaleAssignments({ assigned }: ShardOfStandby): void {
		const old = Date.now() - assignmentMs;
		for (const [containerId, since] of assigned) if (since < old) assigned.delete(containerId);
	}

	/** The socket listens before the shard runs: whoever is given the address can connect at once. */
	#startShard(namespace: string, group: string): ShardOfStandby {
		const { kernel, places, shardCommand, settings } = this.#options;
		const cgroup = cgroupOfGroup(group);
		const cgroupPlaces = cgroup === "" ? [] : cgroupDirectories(cgroup);
		const id = `${Date.now().toString(36)}${(this.#shardNumber++).toString(36)}`;
		const path = places.shardSocket(id);
		rmSync(path, { force: true });
		const listener = listenUnix(kernel, path);
		try {
			const words = ["-shard", id, "-namespace", namespace, "-group", group, "shard"];
			const pid = spawn(kernel, {
				file: shardCommand.file,
				args: [...shardCommand.args, ...words],
				environment: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
				descriptors: [this.#nothing, this.#logFile, this.#logFile, listener],
				directory: "/",
				...(settings.openFiles === undefined ? {} : { openFiles: settings.openFiles }),
			});
			this.#enter(pid, cgroup, cgroupPlaces);
			return this.#addShard(id, { namespace, group, address: `unix://${path}`, pid, child: true });
		} finally {
			kernel.close(listener);
		}
	}

	#enter(pid: number, cgroup: string, directories: readonly string[]): void {
		try {
			enterCgroup(pid, directories);
		} catch (reason) {
			this.#options.kernel.kill(pid, 9); // our own child, which has served nobody
			throw DaemonError.from(reason, { kind: "control group", id: cgroup }, "FailedPrecondition");
		}
	}

	#addShard(
		id: string,
		parts: Pick<ShardOfStandby, "namespace" | "group" | "address" | "pid" | "child">,
	): ShardOfStandby {
		const { kernel } = this.#options;
		const pidfd = openPidfd(kernel, parts.pid);
		if (pidfd === undefined) throw new DaemonError("Unavailable", { kind: "shard", id }, "has ended");
		const poll = kernel.poll(pidfd, () => this.#shardEnded(shard));
		const shard: ShardOfStandby = { id, ...parts, assigned: new Map(), pidfd, poll, leaving: false };
		this.shards.set(id, shard);
		return shard;
	}

	/** What it had not reported is ours to report; what it was parent of is our child now. */
	#shardEnded(shard: ShardOfStandby): void {
		const { kernel, log } = this.#options;
		shard.poll.close();
		kernel.close(shard.pidfd);
		this.shards.delete(shard.id);
		rmSync(shard.address.replace(/^unix:\/\//, ""), { force: true });
		this.#inherit(shard.id);
		const left = [...this.#witnesses.values()].filter((witness) => witness.shard === shard.id);
		log(left.length > 0 ? "warning" : "info", "shard ended", { shard: shard.id, pid: shard.pid, left: left.length });
		this.reaper.sweep();
		for (const witness of left) if (witness.exit === undefined) witness.watch((exit) => this.#seen([[witness, exit]]));
	}

	#inherit(shard: string): void {
		try {
			const journal = new ExitJournal(this.#options.places.journal(shard));
			for (const stray of straysIn(journal.pending)) this.reaper.keep(stray);
			const entries = this.#journal.append(journal.pending.filter(isReported).map(({ fact }) => fact));
			for (const entry of entries) {
				this.#publish(entry);
				if (entry.fact.kind === "exit") this.#noteExit(shard, entry.fact.namespace, entry.fact.exit);
			}
			journal.remove();
		} catch (reason) {
			this.#options.log("error", "the journal of a dead shard cannot be read", { shard, reason: reasonOf(reason) });
		}
	}

	/** For whoever adopts the container, also if this standby had never heard of it. */
	#noteExit(shardId: string, namespace: string, exit: Exit): void {
		const { containerId, execId, pid } = exit;
		const key = terminalKey(namespace, containerId, execId);
		let witness = this.#witnesses.get(key);
		if (witness === undefined) {
			const nothing = { startTime: 0n, bundle: "", stdin: "", stdout: "", stderr: "" };
			witness = new Witness(this.#options.kernel, { shardId, namespace, containerId, execId, pid, ...nothing });
			this.#witnesses.set(key, witness);
		}
		if (witness.pid !== pid) return; // of an older container of this name
		witness.exit = exit;
		witness.releaseStdio();
	}

	/** Children of ours have ended that were a shard's. */
	#record(children: readonly ChildExit[]): void {
		const at = now();
		const byPid = new Map([...this.#witnesses.values()].map((witness) => [witness.pid, witness]));
		this.#seen(
			children.flatMap(({ pid, status }): (readonly [Witness, Exit])[] => {
				const witness = byPid.get(pid);
				if (witness === undefined) return [];
				const { containerId, execId } = witness;
				return [[witness, { containerId, execId, pid, status, at, unknown: false }]];
			}),
		);
	}

	/** Durable first. Then the shard that has adopted the process is told, or, without one, the daemon. */
	#seen(exits: readonly (readonly [Witness, Exit])[]): void {
		const fresh = exits.filter(([witness]) => witness.exit === undefined);
		if (fresh.length === 0) return;
		const facts = fresh.map(([{ namespace }, exit]) => ({ kind: "exit", namespace, exit }) as const);
		const entries = this.#journal.append(facts);
		for (const [index, [witness, exit]] of fresh.entries()) {
			const entry = entries[index];
			if (entry === undefined) continue;
			witness.exit = exit;
			const adopter = this.shards.get(witness.shard);
			if (adopter === undefined) {
				witness.releaseStdio();
				this.#publish(entry);
			} else void this.#tellShard(adopter, entry, exit);
		}
	}

	async #tellShard(shard: ShardOfStandby, entry: Entry<ReportedFact>, exit: Exit): Promise<void> {
		try {
			const client = await connect(shard.address, { timeoutMs: tellShardMs });
			try {
				await client.service(ShardDefinition).exited({ exits: [toWire(exit)] }, { timeoutMs: tellShardMs });
			} finally {
				client.close();
			}
			this.#journal.acknowledge(entry.seq);
		} catch (reason) {
			this.#options.log("warning", "the adopting shard was not told of an exit", { reason: reasonOf(reason) });
			this.#publish(entry);
		}
	}

	#publish(entry: Entry<ReportedFact>): void {
		const { fact } = entry;
		const containerId = fact.kind === "exit" ? fact.exit.containerId : fact.containerId;
		const report = reportOf(entry, () => this.#journal.acknowledge(entry.seq));
		this.publisher.publish(lane(fact.namespace, containerId), report);
	}
}

const lane = (namespace: string, containerId: string): string => `${namespace}/${containerId}`;
