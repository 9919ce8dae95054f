import { taskMachine } from "../../machines/task.machine.ts";
import type { PassedRequest } from "../../machines/task-messages.ts";
import { taskLimits } from "../../machines/task-messages.ts";
import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import type { RequestRefusal, ScopeOf } from "../kernel/actor-definition.ts";
import { defineActor } from "../kernel/actor-logic.ts";
import type { ShimConnection } from "../shims/shim-connection.ts";
import type { ShimSeeker } from "../shims/shims.ts";
import type { TaskCreation, TaskIdentity } from "../task-manager/tasks.ts";
import type { Watch, Witness } from "../task-manager/witness.ts";
import type { Bundles } from "./bundle.ts";
import { processOnHost } from "./process-on-host.ts";
import { failureOf, isNotFound, noStateOf, stateFactOf } from "./shim-answer.ts";
import { publishStdioLost, publishTaskEvent, timestampOf } from "./task-events.ts";

/** The shims, as far as a task needs them. */
export interface TaskShims {
	assign(seeker: ShimSeeker): Promise<{ readonly shim: string; readonly connection: ShimConnection }>;
	connection(namespace: string, shim: string): ShimConnection;
	reach(namespace: string, shim: string, timeoutMs: number, signal: AbortSignal): Promise<ShimConnection>;
	locate(task: TaskIdentity): Promise<string | undefined>;
	clear(
		task: TaskIdentity & { readonly bundle: string },
		runtime: string | undefined,
		signal: AbortSignal,
	): Promise<void>;
	/** The task's record names its shim, or nothing is left of the task. */
	arrived(task: TaskIdentity, shim: string): void;
	release(namespace: string, shim: string): void;
}

export interface TaskWorld {
	readonly shims: TaskShims;
	readonly bundles: Bundles;
	readonly witness: Witness;
	/** What a creation under way was asked for; gone when the daemon was restarted. */
	creation(task: TaskIdentity): TaskCreation | undefined;
	/** Tells the exec'd processes that their container is no more since `exitedAt`. */
	endProcesses(task: TaskIdentity, exitedAt: bigint): void;
	readonly warn: (fields: Readonly<Record<string, unknown>>, message: string) => void;
}

type TaskScope = ScopeOf<typeof taskMachine>;

interface CreationUnderWay {
	readonly cancel: AbortController;
	/** The shim that was found for it. */
	shim: string | undefined;
	/** Never rejects. */
	settled: Promise<void>;
}

export const taskKey = ({ namespace = "", id }: Pick<ObjectIdentity, "namespace" | "id">): string =>
	`v1/${namespace}/task/${id}`;

/** Calls end before the machine's own deadline passes. */
const within = (limit: keyof typeof taskLimits): number => taskLimits[limit] * 0.9;
const SIGKILL = 9;

/** The actor of machines/task.machine.ts: bundle, shim calls, events. */
export function taskActor(world: TaskWorld) {
	const { shims, bundles, witness } = world;
	/** By path: the creation under way, and what ends the watch of the init's pidfd. */
	const creations = new Map<string, CreationUnderWay>();
	const watches = new Map<string, Watch>();

	const connectionOf = ({ context: { namespace, shim } }: TaskScope): ShimConnection =>
		shims.connection(namespace, shim);
	const options = ({ context: { namespace }, signal }: TaskScope, limit: keyof typeof taskLimits) => ({
		timeoutMs: within(limit),
		namespace,
		signal,
	});
	const letGo = ({ path }: Pick<TaskScope, "path">): void => {
		watches.get(path)?.stop();
		watches.delete(path);
	};
	const watch = (pid: number, scope: TaskScope): void => {
		const watching = witness.watch(pid, (exit, isFinal) => {
			if (isFinal) watches.delete(scope.path);
			if (scope.context.exit === undefined)
				scope.send({ type: isFinal ? "witness.exited" : "witness.saw", pid, ...exit });
		});
		watches.set(scope.path, watching);
		scope.signal.addEventListener("abort", () => watching.stop(), { once: true });
	};
	/** One call without a value, answered by `done`, or by the failure. */
	const ask = (
		scope: TaskScope,
		call: (connection: ShimConnection) => Promise<unknown>,
		done: "shim.paused" | "shim.resumed",
	) => {
		attempt(() => call(connectionOf(scope))).then(
			() => scope.send({ type: done }),
			(reason: unknown) => scope.send(failureOf(reason, scope.identity)),
		);
	};

	return defineActor({
		kind: "task",
		machine: taskMachine,
		durable: { schema: 1, key: taskKey },
		contributions: {
			publishCreate(transaction, { pid }, { context }) {
				const { namespace, id, bundle, stdin, stdout, stderr, terminal } = context;
				const { rootfs = [], checkpoint = "" } = world.creation(context) ?? {};
				publishTaskEvent(transaction, namespace, "/tasks/create", {
					containerId: id,
					bundle,
					rootfs: rootfs.map((mount) => ({ ...mount, options: [...mount.options] })),
					io: { stdin, stdout, stderr, terminal },
					checkpoint,
					pid,
				});
			},
			publishStart(transaction, { pid }, { context: { namespace, id } }) {
				publishTaskEvent(transaction, namespace, "/tasks/start", { containerId: id, pid });
			},
			publishExit(transaction, { pid, exitStatus, exitedAt, unknown = false }, { context: { namespace, id } }) {
				const exit = { containerId: id, id, pid, exitStatus, exitedAt: timestampOf(exitedAt), unknown };
				publishTaskEvent(transaction, namespace, "/tasks/exit", exit);
			},
			publishDelete(transaction, { pid, exitStatus, exitedAt }, { context: { namespace, id } }) {
				const exit = { containerId: id, id, pid, exitStatus, exitedAt: timestampOf(exitedAt) };
				publishTaskEvent(transaction, namespace, "/tasks/delete", exit);
			},
			publishOom(transaction, _, { context: { namespace, id } }) {
				publishTaskEvent(transaction, namespace, "/tasks/oom", { containerId: id });
			},
			publishStdioLost(transaction, { lost }, { context: { namespace, id } }) {
				publishStdioLost(transaction, namespace, { containerId: id, lost: [...lost] });
			},
			publishPaused(transaction, _, { context: { namespace, id } }) {
				publishTaskEvent(transaction, namespace, "/tasks/paused", { containerId: id });
			},
			publishResumed(transaction, _, { context: { namespace, id } }) {
				publishTaskEvent(transaction, namespace, "/tasks/resumed", { containerId: id });
			},
			publishCheckpointed(transaction, { path }, { context: { namespace, id } }) {
				publishTaskEvent(transaction, namespace, "/tasks/checkpointed", { containerId: id, checkpoint: path });
			},
		},
		effects: {
			askShimToCreate(_, scope) {
				const cancel = new AbortController();
				const underWay: CreationUnderWay = { cancel, shim: undefined, settled: Promise.resolve() };
				underWay.settled = create(scope, underWay).then(
					({ pid, shim }) => scope.send({ type: "shim.created", pid, shim }),
					(reason: unknown) => scope.send(failureOf(reason, scope.identity)),
				);
				creations.set(scope.path, underWay);
			},
			discardTask(_, scope) {
				const { namespace, id } = scope.context;
				discard(scope).then(
					() => scope.send({ type: "task.discarded" }),
					(reason: unknown) => {
						// The sweep of the next start tries again; the caller has its refusal.
						world.warn({ namespace, id, reason: String(reason) }, "a task that was not created left something");
						scope.send({ type: "task.discarded" });
					},
				);
			},
			askShimToStart(_, scope) {
				attempt(() => connectionOf(scope).task.start({ id: scope.context.id }, options(scope, "start"))).then(
					({ pid }) => scope.send({ type: "shim.started", pid }),
					(reason: unknown) => scope.send(failureOf(reason, scope.identity)),
				);
			},
			askShimToPause(_, scope) {
				ask(scope, ({ task }) => task.pause({ id: scope.context.id }, options(scope, "pause")), "shim.paused");
			},
			askShimToResume(_, scope) {
				ask(scope, ({ task }) => task.resume({ id: scope.context.id }, options(scope, "pause")), "shim.resumed");
			},
			askShimToKill(_, scope) {
				const { id } = scope.context;
				const call = () => connectionOf(scope).task.kill({ id, signal: SIGKILL, all: true }, options(scope, "kill"));
				attempt(call).catch((reason: unknown) => {
					// Finished already: its exit is on the way.
					if (!isNotFound(reason)) scope.send(failureOf(reason, scope.identity));
				});
			},
			askShimToDelete(_, scope) {
				remove(scope).then(
					() => scope.send({ type: "shim.deleted" }),
					(reason: unknown) => scope.send(failureOf(reason, scope.identity)),
				);
			},
			askShimForState(_, scope) {
				const { namespace, id, shim, pid } = scope.context;
				const timeoutMs = within("reconcile") / 2;
				attempt(async () => {
					const { task } = await shims.reach(namespace, shim, timeoutMs, scope.signal);
					return task.state({ id }, { timeoutMs, namespace, signal: scope.signal });
				}).then(
					(state) => scope.send(stateFactOf(state, pid, scope.clock.now())),
					(reason: unknown) => {
						const state = noStateOf(reason, scope.clock.now());
						if (state.type === "state.absent")
							world.warn({ namespace, id, shim, reason: String(reason) }, "no shim holds the container");
						scope.send(state);
					},
				);
			},
			passToShim(request, scope) {
				const { request: call } = request;
				attempt(() => pass(request, scope)).then(
					() =>
						scope.send(
							request.type === "checkpoint"
								? { type: "task.checkpointed", call, path: request.path }
								: { type: "call.answered", call },
						),
					(reason: unknown) => {
						const { code, problem } = DaemonError.from(reason, scope.identity);
						scope.send({ type: "call.refused", call, code, problem });
					},
				);
			},
			watchInit({ pid }, scope) {
				letGo(scope);
				creations.delete(scope.path);
				shims.arrived(scope.context, scope.context.shim);
				if (pid !== 0) watch(pid, scope); // one that starts from a checkpoint has no process yet
			},
			watchAgain(_, scope) {
				const { pid, bundle } = scope.context;
				if (watches.has(scope.path) || pid === 0) return;
				void processOnHost(bundle, "").then((init) => {
					if (init?.pid !== pid || watches.has(scope.path) || scope.signal.aborted) return;
					if (witness.isThere(init)) watch(pid, scope);
				});
			},
			hurryWitness(_, { path }) {
				watches.get(path)?.hurry();
			},
			endProcesses(_, { context }) {
				world.endProcesses(context, context.exit?.exitedAt ?? 0n);
				shims.release(context.namespace, context.shim);
			},
		},
		refuse: ({ type }, snapshot): RequestRefusal | undefined => {
			const state = snapshot.value;
			if (state === "unknown")
				return { code: "Unavailable", problem: "its state is unknown: no shim answers for it at the moment" };
			if (type === "kill" && (state === "stopped" || state === "deleting"))
				return { code: "NotFound", problem: "process already finished" };
			return undefined;
		},
	});

	/** Bundle and shim side by side; a foreign shim is started in the finished bundle. */
	async function create(scope: TaskScope, underWay: CreationUnderWay): Promise<{ pid: number; shim: string }> {
		const { namespace, id, bundle } = scope.context;
		const signal = AbortSignal.any([scope.signal, underWay.cancel.signal]);
		const creation = world.creation({ namespace, id });
		if (creation === undefined) throw new DaemonError("Unavailable", scope.identity, "the daemon was restarted");
		const { runtime, rootfs, stdio, checkpoint, sandboxId = "" } = creation;
		const clear = async () =>
			discardEverywhere(world, scope.context, await shims.locate(scope.context), undefined, signal);
		const bundleReady = bundles.write({ namespace, id }, creation.spec, clear);
		bundleReady.catch(() => undefined); // awaited below, and by whoever needs the bundle
		const seeker = { namespace, id, bundle, bundleReady, sandboxId, signal };
		const assigned = shims.assign({ ...seeker, runtime: runtime.name, options: runtime.options }).then((found) => {
			underWay.shim = found.shim;
			return found;
		});
		await Promise.allSettled([assigned, bundleReady]); // whoever discards it must know the shim
		const [{ shim, connection }] = await Promise.all([assigned, bundleReady]);
		if (signal.aborted) throw new DaemonError("Canceled", scope.identity, "its creation was cancelled");
		// Not cancelled from here on: ttrpc cannot, the shim would go on, and what it makes must be known to be removed.
		const { pid } = await connection.task.create(
			{
				id,
				bundle,
				rootfs: rootfs.map((mount) => ({ ...mount, options: [...mount.options] })),
				terminal: stdio.terminal,
				stdin: stdio.stdin,
				stdout: stdio.stdout,
				stderr: stdio.stderr,
				checkpoint,
				options: runtime.options,
			},
			{ timeoutMs: within("create"), namespace },
		);
		return { pid, shim };
	}

	/** May outlast its actor, if the shim does: then only if no new creation has taken the name meanwhile. */
	async function discard({ context, path }: TaskScope): Promise<void> {
		const { namespace, id, runtime } = context;
		const task = { namespace, id };
		const underWay = creations.get(path);
		underWay?.cancel.abort();
		await underWay?.settled;
		if (creations.get(path) !== underWay) return;
		const signal = AbortSignal.timeout(taskLimits.discard);
		const shim = underWay?.shim ?? (await shims.locate(task));
		await discardEverywhere(world, task, shim, runtime, signal);
		if (shim !== undefined) shims.arrived(task, shim);
		if (creations.get(path) === underWay) creations.delete(path);
		if (shim !== undefined) shims.release(task.namespace, shim);
	}

	async function remove(scope: TaskScope): Promise<void> {
		const { namespace, id } = scope.context;
		letGo(scope);
		try {
			await untilReachable(scope, within("delete"), () =>
				connectionOf(scope).task.delete({ id }, options(scope, "delete")),
			);
		} catch (reason) {
			if (!isNotFound(reason)) throw reason;
			// No shim knows it: deleted by an attempt that was not answered, or by nobody.
			await shims.clear({ namespace, id, bundle: bundles.path({ namespace, id }) }, undefined, scope.signal);
		}
		await bundles.remove({ namespace, id });
	}

	function pass(request: PassedRequest, scope: TaskScope): Promise<unknown> {
		const { task } = connectionOf(scope);
		const { id } = scope.context;
		switch (request.type) {
			case "kill":
				return task.kill({ id, signal: request.signal, all: request.all }, options(scope, "kill"));
			case "resizePty":
				return task.resizePty({ id, width: request.width, height: request.height }, options(scope, "kill"));
			case "closeIo":
				return task.closeIO({ id, stdin: request.stdin }, options(scope, "kill"));
			case "update": {
				const resources = { typeUrl: request.typeUrl, value: request.resources };
				return task.update({ id, resources, annotations: request.annotations }, options(scope, "start"));
			}
			case "checkpoint": {
				const given = request.typeUrl === "" ? undefined : { typeUrl: request.typeUrl, value: request.options };
				return task.checkpoint({ id, path: request.path, options: given }, options(scope, "create"));
			}
		}
	}
}

/** The binary that removes it may be killed, too. */
const clearAttempts = 3;

/** Removes all of a container that has no actor to do it in order, whether its shim lives or not. */
export async function discardEverywhere(
	{ shims, bundles }: Pick<TaskWorld, "shims" | "bundles">,
	{ namespace, id }: TaskIdentity,
	shim: string | undefined,
	runtime: string | undefined,
	signal: AbortSignal,
): Promise<void> {
	const task = { namespace, id };
	const bundle = bundles.path(task);
	let reached = false;
	if (shim !== undefined)
		try {
			await discardInShim(shims, task, shim, signal);
			reached = true;
		} catch (reason) {
			if (failureOf(reason, { kind: "task", ...task }).type !== "shim.silent" && !isNotFound(reason)) throw reason;
		}
	const foreign = reached || shim === undefined ? undefined : runtime;
	for (let attempt = 1; ; attempt++)
		try {
			await shims.clear({ ...task, bundle }, foreign, signal);
			break;
		} catch (reason) {
			if (attempt === clearAttempts || signal.aborted) throw reason;
		}
	await bundles.remove(task);
}

/** Kills and deletes. What is not there is done. */
async function discardInShim(
	shims: Pick<TaskShims, "reach">,
	{ namespace, id }: TaskIdentity,
	shim: string,
	signal: AbortSignal,
): Promise<void> {
	const limits = { timeoutMs: taskLimits.discard / 3, namespace, signal };
	const { task } = await shims.reach(namespace, shim, limits.timeoutMs, signal);
	// Twice: it may still be being created, and then be started by a request that was on its way.
	for (let attempt = 1; ; attempt++) {
		await task.kill({ id, signal: SIGKILL, all: true }, limits).catch(ignore("NotFound", "FailedPrecondition"));
		try {
			await task.delete({ id }, limits).catch(ignore("NotFound"));
			return;
		} catch (reason) {
			if (attempt === 2 || !hasCode(reason, "FailedPrecondition")) throw reason;
			await task.wait({ id }, limits).catch(ignore("NotFound"));
		}
	}
}

const hasCode = (reason: unknown, ...codes: ErrorCode[]): boolean =>
	reason instanceof DaemonError && codes.includes(reason.code);
const ignore =
	(...codes: ErrorCode[]) =>
	(reason: unknown): void => {
		if (!hasCode(reason, ...codes)) throw reason;
	};

/** A throw before the call is an answer like one after it. */
const attempt = async <T>(call: () => Promise<T>): Promise<T> => call();

const againMs = 50;

/**
 * Makes a call again while no shim can be reached, up to `ms`: a stopped task may be deleted while an heir of its dead shim
 * is still being found. Only for calls that may be repeated.
 */
export async function untilReachable<T>(
	{ clock, signal }: Pick<TaskScope, "clock" | "signal">,
	ms: number,
	call: () => Promise<T>,
): Promise<T> {
	for (const end = clock.monotonic() + ms; ; ) {
		try {
			return await call();
		} catch (reason) {
			const unreachable = reason instanceof DaemonError && reason.code === "Unavailable";
			if (!unreachable || signal.aborted || clock.monotonic() + againMs >= end) throw reason;
			await new Promise<void>((resolve) => clock.after(againMs, resolve));
		}
	}
}
