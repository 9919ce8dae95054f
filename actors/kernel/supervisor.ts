import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import { Actor } from "./actor.ts";
import type { ActorRef } from "./actor-ref.ts";
import { backoffMs, defaultBackoff } from "./backoff.ts";
import type { ActorChildSpec, Backoff, ChildSpec, Shutdown, SupervisorSpec } from "./child-spec.ts";
import type { ActorStatus, SupervisorInspection, WaitingMessage } from "./inspection.ts";
import { Intensity } from "./intensity.ts";
import type { Node, NodeEnded, Outcome, Runtime, StopPurpose, Supervision } from "./node.ts";
import type { SupervisorRef } from "./supervisor-ref.ts";
import { within } from "./within.ts";

/** A start that takes longer has failed. */
const startLimitMs = 30_000;

interface Child {
	spec: ChildSpec;
	readonly node: Actor | Supervisor;
	readonly dynamic: boolean;
	/** `down`: it ended and the supervisor has not yet decided. */
	phase: "idle" | "starting" | "running" | "down" | "backoff" | "stopping" | "stopped" | "ended";
	restarts: number;
	/** Restarts in a row, without a long enough run between. */
	failures: number;
	startedAt: number;
	cancelRestart: (() => void) | undefined;
	/** It ended before its start was noted. */
	early: Outcome | undefined;
	/** Settles, never rejects, when its start or stop is over. */
	settled: Promise<void>;
}

/**
 * OTP's supervisor. Its own mailbox is a chain of turns: decisions, group restarts, and stops come one after the other.
 * Under one_for_one a child's start or stop is no turn: a slow one keeps no sibling waiting.
 */
export class Supervisor implements Node, SupervisorRef {
	readonly path: string;
	readonly #runtime: Runtime;
	readonly #onEnded: NodeEnded;
	readonly #children = new Map<string, Child>();
	#spec: SupervisorSpec;
	#intensity: Intensity;
	#backoff: Backoff;
	#phase: Exclude<ActorStatus, "committing"> = "starting";
	#turns: Promise<unknown> = Promise.resolve();
	#cancelGroupRestart: (() => void) | undefined;
	#lastError: DaemonError | undefined;

	constructor(runtime: Runtime, path: string, spec: SupervisorSpec, onEnded: NodeEnded) {
		this.path = path;
		this.#runtime = runtime;
		this.#onEnded = onEnded;
		this.#spec = spec;
		this.#intensity = newIntensity(spec);
		this.#backoff = { ...defaultBackoff, ...spec.backoff };
	}

	get identity(): ObjectIdentity {
		return { kind: "supervisor", id: this.path };
	}

	/** Before a start with a specification that was computed anew. */
	specify(spec: SupervisorSpec): void {
		this.#spec = spec;
		this.#backoff = { ...defaultBackoff, ...spec.backoff };
	}

	// ---- the reference

	async start<Ref extends ActorRef>(spec: ActorChildSpec<Ref>): Promise<Ref>;
	async start(spec: ChildSpec): Promise<ActorRef | undefined>;
	async start(spec: ChildSpec): Promise<unknown> {
		return this.#spec.strategy === "one_for_one"
			? this.#startDynamic(spec)
			: this.#turn(() => this.#startDynamic(spec));
	}

	async stop(id: string): Promise<void> {
		const child = this.#childOf(id);
		const stop = async (): Promise<void> => {
			await this.#stopChild(child, "for good");
			if (child.dynamic || child.spec.restart === "temporary") this.#forget(child);
		};
		return this.#spec.strategy === "one_for_one" ? stop() : this.#turn(stop);
	}

	async restart(id: string): Promise<void> {
		const child = this.#childOf(id);
		const restart = async (): Promise<void> => {
			if (child.phase !== "stopped" && child.phase !== "ended")
				throw this.#error("FailedPrecondition", `child "${id}" is ${child.phase}`);
			this.#requireRunning();
			try {
				await this.#startChild(child);
			} catch (error) {
				child.phase = "ended";
				child.node.retire();
				throw error;
			}
		};
		return this.#spec.strategy === "one_for_one" ? restart() : this.#turn(restart);
	}

	find<Ref extends ActorRef = ActorRef>(id: string): Ref | undefined {
		const node = this.#children.get(id)?.node;
		return node instanceof Actor ? (node as ActorRef as Ref) : undefined;
	}

	supervisor(id: string): SupervisorRef | undefined {
		const node = this.#children.get(id)?.node;
		return node instanceof Supervisor ? node : undefined;
	}

	ids(): readonly string[] {
		return [...this.#children.keys()];
	}

	// ---- start

	launch(): Promise<void> {
		return this.#turn(() => this.#startAll());
	}

	async #startAll(): Promise<void> {
		this.#phase = "starting";
		// a restarted supervisor counts anew, as in OTP
		this.#intensity = newIntensity(this.#spec);
		try {
			this.#reconcile();
			for (const child of this.#children.values()) await this.#startChild(child);
		} catch (error) {
			await this.#stopChildren("for a restart");
			this.#phase = "backoff";
			throw error;
		}
		this.#phase = "running";
	}

	/** Children that were there before keep their place, so that references to them stay valid. */
	#reconcile(): void {
		const before = new Map(this.#children);
		this.#children.clear();
		const { children = [] } = this.#spec;
		const specs = typeof children === "function" ? children(this.#requireStore()) : children;
		const taken = new Set<string>();
		for (const spec of specs) {
			if (taken.has(spec.id)) throw this.#error("AlreadyExists", `two children have the id "${spec.id}"`);
			taken.add(spec.id);
		}
		for (const [id, child] of before) {
			const spec = specs.find((candidate) => candidate.id === id);
			if (spec === undefined || "supervisor" in spec !== child.node instanceof Supervisor) this.#drop(child);
		}
		for (const spec of specs) {
			const known = before.get(spec.id);
			if (known !== undefined && "supervisor" in spec === known.node instanceof Supervisor) {
				if ("supervisor" in spec) (known.node as Supervisor).specify(spec.supervisor);
				else (known.node as Actor).specify(spec);
				this.#children.set(spec.id, {
					...this.#newChild(spec, wasDynamic(spec), known.node),
					restarts: known.restarts,
				});
			} else this.#children.set(spec.id, this.#newChild(spec, wasDynamic(spec)));
		}
	}

	#newChild(spec: ChildSpec, dynamic: boolean, known?: Actor | Supervisor): Child {
		return {
			spec,
			dynamic,
			node: known ?? this.#newNode(spec),
			phase: "idle",
			restarts: 0,
			failures: 0,
			startedAt: 0,
			cancelRestart: undefined,
			early: undefined,
			settled: Promise.resolve(),
		};
	}

	#newNode(spec: ChildSpec): Actor | Supervisor {
		const path = `${this.path === "/" ? "" : this.path}/${spec.id}`;
		if (this.#runtime.nodes.has(path)) throw this.#error("AlreadyExists", `"${path}" is in use`);
		const ended: NodeEnded = (outcome) => this.#childEnded(spec.id, node, outcome);
		const node =
			"supervisor" in spec
				? new Supervisor(this.#runtime, path, spec.supervisor, ended)
				: new Actor(this.#runtime, path, spec, ended);
		this.#runtime.nodes.set(path, node);
		return node;
	}

	async #startDynamic(spec: ChildSpec): Promise<ActorRef | undefined> {
		this.#requireRunning();
		if (this.#children.has(spec.id)) throw this.#error("AlreadyExists", `child "${spec.id}" exists`);
		const child = this.#newChild(spec, true);
		this.#children.set(spec.id, child);
		try {
			await this.#startChild(child);
		} catch (error) {
			this.#forget(child);
			throw error;
		}
		return child.node instanceof Actor ? child.node : undefined;
	}

	async #startChild(child: Child): Promise<void> {
		const { clock } = this.#runtime;
		child.phase = "starting";
		child.early = undefined;
		const start = child.node.launch().then(
			() => undefined,
			(error: unknown) => ({ error }),
		);
		const settled = Promise.withResolvers<void>();
		child.settled = settled.promise;
		try {
			if (!(await within(clock, startLimitMs, start))) {
				await child.node.halt("brutal", "for a restart");
				throw this.#error("DeadlineExceeded", `child "${child.spec.id}" did not start within ${startLimitMs} ms`);
			}
			const failed = await start;
			if (failed !== undefined) throw failed.error;
			child.startedAt = clock.now();
			child.phase = child.early === undefined ? "running" : "down";
			const early = child.early as Outcome | undefined;
			if (early !== undefined) this.#decideLater(child, early);
		} catch (error) {
			child.phase = "backoff";
			throw error;
		} finally {
			settled.resolve();
		}
	}

	// ---- ends and restarts

	#childEnded(id: string, node: Node, outcome: Outcome): void {
		const child = this.#children.get(id);
		if (child === undefined || child.node !== node) return;
		if (child.phase === "starting") child.early = outcome;
		else if (child.phase === "running") {
			child.phase = "down";
			this.#decideLater(child, outcome);
		}
	}

	#decideLater(child: Child, outcome: Outcome): void {
		void this.#turn(async () => {
			if (this.#phase !== "running" || child.phase !== "down") return;
			const { restart } = child.spec;
			if (restart === "permanent" || (restart === "transient" && outcome.kind === "failed"))
				await this.#restartAfter(child, outcome);
			else if (restart === "temporary" || child.dynamic) this.#forget(child);
			else {
				child.phase = "ended";
				child.node.retire();
			}
		});
	}

	async #restartAfter(child: Child, outcome: Outcome): Promise<void> {
		const { clock, random } = this.#runtime;
		const now = clock.now();
		if (!this.#intensity.allows(now)) return this.#giveUp(child, outcome);
		if (child.startedAt > 0 && now - child.startedAt >= this.#backoff.resetMs) child.failures = 0;
		const delayMs = backoffMs(this.#backoff, child.failures++, random);
		child.restarts++;
		this.#runtime.emit({ type: "restarting", path: child.node.path, delayMs });
		child.phase = "backoff";
		if (this.#spec.strategy === "one_for_one") {
			child.cancelRestart = clock.after(delayMs, () => this.#restartOne(child));
			return;
		}
		this.#cancelGroupRestart?.();
		await this.#stopGroup(child);
		this.#cancelGroupRestart = clock.after(delayMs, () => void this.#turn(() => this.#startGroup(child)));
	}

	#restartOne(child: Child): void {
		child.cancelRestart = undefined;
		if (this.#phase !== "running" || child.phase !== "backoff") return;
		this.#startChild(child).catch((error: unknown) => void this.#turn(() => this.#startFailed(child, error)));
	}

	async #startFailed(child: Child, reason: unknown): Promise<void> {
		const error = DaemonError.from(reason, this.identity, "Internal");
		this.#runtime.emit({ type: "start failed", path: child.node.path, error });
		if (this.#phase === "running" && child.phase === "backoff")
			await this.#restartAfter(child, { kind: "failed", error });
	}

	/** Those that restart together with the child, in the order of their start. */
	#group(child: Child): Child[] {
		const all = [...this.#children.values()];
		return this.#spec.strategy === "one_for_all" ? all : all.slice(all.indexOf(child));
	}

	async #stopGroup(failed: Child): Promise<void> {
		for (const child of this.#group(failed).reverse()) {
			if (child === failed) continue;
			await this.#stopChild(child, "for a restart");
			if (child.spec.restart === "temporary") this.#forget(child);
		}
	}

	async #startGroup(failed: Child): Promise<void> {
		this.#cancelGroupRestart = undefined;
		if (this.#phase !== "running") return;
		for (const child of this.#group(failed)) {
			if (child.phase === "running" || child.phase === "down") continue;
			if (child !== failed) child.restarts++;
			try {
				await this.#startChild(child);
			} catch (error) {
				await this.#startFailed(child, error);
				return;
			}
		}
	}

	async #giveUp(child: Child, outcome: Outcome): Promise<void> {
		const { intensity, periodMs } = this.#intensity;
		const cause = outcome.kind === "failed" ? { cause: outcome.error } : undefined;
		const error = new DaemonError(
			"Aborted",
			this.identity,
			`child "${child.spec.id}" needed more than ${intensity} restarts within ${periodMs} ms`,
			cause,
		);
		this.#lastError = error;
		this.#phase = "stopping";
		child.phase = "backoff";
		await this.#stopChildren("for a restart");
		this.#phase = "backoff";
		this.#runtime.emit({ type: "gave up", path: this.path, error });
		this.#onEnded({ kind: "failed", error });
	}

	// ---- stop

	async halt(shutdown: Shutdown, purpose: StopPurpose): Promise<void> {
		const limit = shutdown === "brutal" ? 0 : shutdown;
		const stopped = this.#turn(async () => {
			if (this.#phase === "ended") return;
			this.#phase = "stopping";
			await this.#stopChildren(purpose, shutdown === "brutal");
			this.#phase = purpose === "for good" ? "stopped" : "backoff";
		});
		if (await within(this.#runtime.clock, limit, stopped)) return;
		// cut off: what waits for a child's farewell is over as soon as the child is
		for (const child of [...this.#children.values()].reverse()) await child.node.halt("brutal", purpose);
		await stopped;
	}

	/** In reverse order of start. Dynamic and temporary children are forgotten when it is for good. */
	async #stopChildren(purpose: StopPurpose, brutally = false): Promise<void> {
		this.#cancelGroupRestart?.();
		this.#cancelGroupRestart = undefined;
		for (const child of [...this.#children.values()].reverse()) await this.#stopChild(child, purpose, brutally);
	}

	async #stopChild(child: Child, purpose: StopPurpose, brutally = false): Promise<void> {
		child.cancelRestart?.();
		child.cancelRestart = undefined;
		while (child.phase === "starting" || child.phase === "stopping") await child.settled;
		if (child.phase === "ended") return;
		const settled = Promise.withResolvers<void>();
		child.settled = settled.promise;
		child.phase = "stopping";
		await child.node.halt(brutally ? "brutal" : child.spec.shutdown, purpose);
		child.phase = purpose === "for good" ? "stopped" : "backoff";
		settled.resolve();
	}

	#forget(child: Child): void {
		if (this.#children.get(child.spec.id) === child) this.#children.delete(child.spec.id);
		this.#drop(child);
	}

	#drop(child: Child): void {
		child.phase = "ended";
		child.node.retire();
		this.#runtime.nodes.delete(child.node.path);
	}

	retire(): void {
		this.#phase = "ended";
		for (const child of [...this.#children.values()]) this.#forget(child);
	}

	// ---- inspection

	inspect(supervision: Supervision): SupervisorInspection {
		return {
			...supervision,
			node: "supervisor",
			path: this.path,
			status: this.#phase,
			strategy: this.#spec.strategy,
			intensity: this.#intensity.intensity,
			periodMs: this.#intensity.periodMs,
			children: this.#children.size,
			...(this.#lastError === undefined ? {} : { lastError: this.#lastError.toRecord() }),
		};
	}

	waiting(): readonly WaitingMessage[] {
		return [];
	}

	/** The nodes below, each with what this supervisor knows about it. */
	*nodes(): Iterable<{ readonly node: Actor | Supervisor; readonly supervision: Supervision }> {
		for (const { node, spec, restarts } of this.#children.values())
			yield { node, supervision: { restart: spec.restart, restarts } };
	}

	// ---- ground

	#turn<Result>(turn: () => Promise<Result>): Promise<Result> {
		const result = this.#turns.then(turn);
		this.#turns = result.catch(() => undefined); // whoever asked for the turn has its result
		return result;
	}

	#childOf(id: string): Child {
		const child = this.#children.get(id);
		if (child === undefined) throw this.#error("NotFound", `no child "${id}"`);
		return child;
	}

	#requireRunning(): void {
		if (this.#phase !== "running") throw this.#error("Unavailable", `is ${this.#phase}`);
	}

	#requireStore() {
		const { store } = this.#runtime;
		if (store === undefined)
			throw this.#error("FailedPrecondition", "its children come from records, but there is no store");
		return store;
	}

	#error(code: ErrorCode, problem: string): DaemonError {
		return new DaemonError(code, this.identity, problem);
	}
}

const newIntensity = ({ intensity = 1, periodMs = 5_000 }: SupervisorSpec): Intensity =>
	new Intensity(intensity, periodMs);

/** A child that is started from its record was a dynamic one of an earlier process. */
const wasDynamic = (spec: ChildSpec): boolean => "start" in spec && spec.start === "from record";
