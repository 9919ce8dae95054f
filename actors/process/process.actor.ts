import { processLimits, processMachine } from "../../machines/process.machine.ts";
import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { CallOptions } from "../../src/ttrpc/client.ts";
import type { RequestRefusal, ScopeOf } from "../kernel/actor-definition.ts";
import { defineActor } from "../kernel/actor-logic.ts";
import type { ShimConnection } from "../shims/shim-connection.ts";
import { processOnHost } from "../task/process-on-host.ts";
import { failureOf, isNotFound, noStateOf, stateFactOf } from "../task/shim-answer.ts";
import { untilReachable } from "../task/task.actor.ts";
import { publishTaskEvent, timestampOf } from "../task/task-events.ts";
import type { AnyValue, ProcessIdentity, TaskIdentity } from "../task-manager/tasks.ts";
import type { Watch, Witness } from "../task-manager/witness.ts";

export interface ProcessWorld {
	/** The shim that holds the container now. NotFound without a task, Unavailable while no shim holds it. */
	connection(task: TaskIdentity): ShimConnection;
	reach(task: TaskIdentity, timeoutMs: number, signal: AbortSignal): Promise<ShimConnection>;
	readonly witness: Witness;
	bundle(task: TaskIdentity): string;
	/** The OCI process of an addition under way; gone when the daemon was restarted. It is kept in no record or journal. */
	spec(process: ProcessIdentity): AnyValue | undefined;
}

type ProcessScope = ScopeOf<typeof processMachine>;

/** `v1/<namespace>/process/<container>/<exec id>` */
export const processKey = ({ namespace = "", id }: Pick<ObjectIdentity, "namespace" | "id">): string =>
	`v1/${namespace}/process/${id}`;

export const processIdentity = ({ namespace, id, execId }: ProcessIdentity): ObjectIdentity => ({
	kind: "process",
	namespace,
	id: `${id}/${execId}`,
});

/** Calls end before the machine's own deadline passes. */
const within = (limit: keyof typeof processLimits): number => processLimits[limit] * 0.9;
const SIGKILL = 9;

/** The actor of machines/process.machine.ts: shim calls and events of one exec. */
export function processActor(world: ProcessWorld) {
	/** By path: ends the watch of the pidfd. */
	const watches = new Map<string, Watch>();
	const options = ({ context: { namespace }, signal }: ProcessScope, limit: keyof typeof processLimits) => ({
		timeoutMs: within(limit),
		namespace,
		signal,
	});
	const watch = (pid: number, scope: ProcessScope): void => {
		const watching = world.witness.watch(pid, (exit, isFinal) => {
			if (isFinal) watches.delete(scope.path);
			if (scope.context.exit === undefined)
				scope.send({ type: isFinal ? "witness.exited" : "witness.saw", pid, ...exit });
		});
		watches.set(scope.path, watching);
		scope.signal.addEventListener("abort", () => watching.stop(), { once: true });
	};
	const fail = (scope: ProcessScope) => (reason: unknown) => scope.send(failureOf(reason, scope.identity));
	const call = async <T>(
		scope: ProcessScope,
		ask: (task: ShimConnection["task"], process: { id: string; execId: string }) => Promise<T>,
	): Promise<T> => {
		const { id, execId } = scope.context;
		return ask(world.connection(scope.context).task, { id, execId });
	};

	return defineActor({
		kind: "process",
		machine: processMachine,
		durable: { schema: 1, key: processKey },
		contributions: {
			publishAdded(transaction, _, { context: { namespace, id, execId } }) {
				publishTaskEvent(transaction, namespace, "/tasks/exec-added", { containerId: id, execId });
			},
			publishStarted(transaction, { pid }, { context: { namespace, id, execId } }) {
				publishTaskEvent(transaction, namespace, "/tasks/exec-started", { containerId: id, execId, pid });
			},
			publishExit(transaction, { pid, exitStatus, exitedAt, unknown = false }, { context: { namespace, id, execId } }) {
				const exit = { containerId: id, id: execId, pid, exitStatus, exitedAt: timestampOf(exitedAt), unknown };
				publishTaskEvent(transaction, namespace, "/tasks/exit", exit);
			},
		},
		effects: {
			askShimToAdd(_, scope) {
				const { stdin, stdout, stderr, terminal } = scope.context;
				const spec = world.spec(scope.context);
				const stdio = { stdin, stdout, stderr, terminal };
				call(scope, async (task, process) => {
					if (spec === undefined) throw new DaemonError("Unavailable", scope.identity, "the daemon was restarted");
					const add = () => task.exec({ ...process, ...stdio, spec }, options(scope, "add"));
					try {
						return await add();
					} catch (reason) {
						// No actor had this name: it is left of an addition whose answer was lost.
						if (!(reason instanceof DaemonError && reason.code === "AlreadyExists")) throw reason;
						await discardInShim(task, process, options(scope, "add"));
						return await add();
					}
				}).then(() => scope.send({ type: "shim.added" }), fail(scope));
			},
			discardProcess(_, scope) {
				call(scope, (task, process) => discardInShim(task, process, options(scope, "discard"))).then(
					() => scope.send({ type: "process.discarded" }),
					() => scope.send({ type: "process.discarded" }), // it goes with its container at the latest
				);
			},
			askShimToStart(_, scope) {
				call(scope, (task, process) => task.start(process, options(scope, "start"))).then(
					({ pid }) => scope.send({ type: "shim.started", pid }),
					fail(scope),
				);
			},
			askShimToDelete(_, scope) {
				letGo(scope);
				const ask = () => call(scope, (task, process) => task.delete(process, options(scope, "delete")));
				untilReachable(scope, within("delete"), ask).then(
					() => scope.send({ type: "shim.deleted" }),
					(reason: unknown) => (isNotFound(reason) ? scope.send({ type: "shim.deleted" }) : fail(scope)(reason)),
				);
			},
			askShimForState(_, scope) {
				const { namespace, id, execId, pid } = scope.context;
				const timeoutMs = within("reconcile") / 2;
				world
					.reach(scope.context, timeoutMs, scope.signal)
					.then(({ task }) => task.state({ id, execId }, { timeoutMs, namespace, signal: scope.signal }))
					.then(
						(state) => scope.send(stateFactOf(state, pid, scope.clock.now())),
						(reason: unknown) => scope.send(noStateOf(reason, scope.clock.now())),
					);
			},
			passToShim(request, scope) {
				call(scope, (task, process): Promise<unknown> => {
					const limits = options(scope, "delete");
					switch (request.type) {
						case "kill":
							return task.kill({ ...process, signal: request.signal, all: request.all }, limits);
						case "resizePty":
							return task.resizePty({ ...process, width: request.width, height: request.height }, limits);
						case "closeIo":
							return task.closeIO({ ...process, stdin: request.stdin }, limits);
					}
				}).then(
					() => scope.send({ type: "call.answered", call: request.request }),
					(reason: unknown) => {
						const { code, problem } = DaemonError.from(reason, scope.identity);
						scope.send({ type: "call.refused", call: request.request, code, problem });
					},
				);
			},
			watchProcess({ pid }, scope) {
				letGo(scope);
				watch(pid, scope);
			},
			watchAgain(_, scope) {
				const { pid, execId } = scope.context;
				if (watches.has(scope.path)) return;
				void processOnHost(world.bundle(scope.context), execId).then((process) => {
					if (process === undefined || process.pid !== pid || watches.has(scope.path) || scope.signal.aborted) return;
					if (world.witness.isThere(process)) watch(pid, scope);
				});
			},
			hurryWitness(_, { path }) {
				watches.get(path)?.hurry();
			},
		},
		refuse: ({ type }, snapshot): RequestRefusal | undefined => {
			const state = snapshot.value;
			if (state === "unknown")
				return { code: "Unavailable", problem: "its state is unknown: no shim answers for it at the moment" };
			if (type === "kill" && (state === "stopped" || state === "deleting" || state === "ended"))
				return { code: "NotFound", problem: "process already finished" };
			return undefined;
		},
	});

	function letGo({ path }: Pick<ProcessScope, "path">): void {
		watches.get(path)?.stop();
		watches.delete(path);
	}
}

/** Kills and deletes an exec that no actor answers for. */
async function discardInShim(
	task: ShimConnection["task"],
	process: { readonly id: string; readonly execId: string },
	options: CallOptions,
): Promise<void> {
	await task.kill({ ...process, signal: SIGKILL, all: false }, options).catch(() => {
		// Most likely it was never started; whether it can be deleted is what counts.
	});
	try {
		await task.delete(process, options);
	} catch (reason) {
		if (!(reason instanceof DaemonError && reason.code === "FailedPrecondition")) throw reason;
		await task.wait(process, options); // it was just killed
		await task.delete(process, options);
	}
}
