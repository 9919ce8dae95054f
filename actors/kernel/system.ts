import type { Store } from "../../src/metadata/store/store.ts";
import { Actor } from "./actor.ts";
import type { ActorRef } from "./actor-ref.ts";
import type { SupervisorSpec } from "./child-spec.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type DeadLetter, DeadLetterOffice } from "./dead-letters.ts";
import type { Inspection, KernelCounters, WaitingMessage } from "./inspection.ts";
import type { KernelEvent } from "./kernel-event.ts";
import type { Node, Runtime, Supervision } from "./node.ts";
import { Scheduler } from "./scheduler.ts";
import { Supervisor } from "./supervisor.ts";
import type { SupervisorRef } from "./supervisor-ref.ts";

export interface SystemOptions {
	readonly root: SupervisorSpec;
	/** Without one only ephemeral actors start. */
	readonly store?: Store;
	readonly clock?: Clock;
	/** 0 (included) to 1 (excluded); for jitter and request ids. */
	readonly random?: () => number;
	/** Dead letters kept; default 1024. */
	readonly deadLetters?: number;
}

export interface System {
	readonly root: SupervisorRef;
	readonly clock: Clock;
	/** The actor at an absolute path. */
	find<Ref extends ActorRef = ActorRef>(path: string): Ref | undefined;
	supervisor(path: string): SupervisorRef | undefined;
	/** The whole tree, parents first, children in the order of their start. */
	inspect(): Iterable<Inspection>;
	/** One node, with the messages that wait (at most 100). */
	inspectOne(path: string): (Inspection & { readonly waiting: readonly WaitingMessage[] }) | undefined;
	/** Oldest first. */
	readonly deadLetters: readonly DeadLetter[];
	readonly counters: KernelCounters;
	/** Calls the listener for all that happens, until the returned function is called. It must not throw. */
	watch(listener: (event: KernelEvent) => void): () => void;
	/** Stops the tree in reverse order of start. Records are kept. */
	stop(): Promise<void>;
	/** Resolves after stop(); rejects with the error when the root gives up. Ignoring it is safe. */
	readonly ended: Promise<void>;
}

const waitingShown = 100;

/** Starts the tree; rejects, with everything stopped, if one of its children does not start. */
export async function startSystem(options: SystemOptions): Promise<System> {
	const { store, clock = systemClock, random = Math.random, deadLetters: kept = 1_024 } = options;
	const listeners = new Set<(event: KernelEvent) => void>();
	const deadLetters = new DeadLetterOffice(kept);
	const boot = Math.floor(random() * 36 ** 6).toString(36);
	let requests = 0;
	const runtime: Runtime = {
		clock,
		random,
		store,
		deadLetters,
		scheduler: new Scheduler(),
		counters: { lateReplies: 0, overflows: 0, crashes: 0 },
		nodes: new Map<string, Node>(),
		// ids of an earlier process, kept in records, must not meet a request of this one
		nextRequestId: () => `${boot}-${++requests}`,
		get watched() {
			return listeners.size > 0;
		},
		emit: (event) => {
			for (const listener of listeners) listener(event);
		},
	};
	const ended = Promise.withResolvers<void>();
	ended.promise.catch(() => undefined); // whoever cares awaits it
	const root: Supervisor = new Supervisor(runtime, "/", options.root, (outcome) => {
		root.retire();
		if (outcome.kind === "failed") ended.reject(outcome.error);
	});
	runtime.nodes.set("/", root);
	try {
		await root.launch();
	} catch (error) {
		root.retire();
		throw error;
	}

	const nodeAt = (path: string): Node | undefined => runtime.nodes.get(path);
	return {
		root,
		clock,
		find: <Ref extends ActorRef>(path: string) => {
			const node = nodeAt(path);
			return node instanceof Actor ? (node as ActorRef as Ref) : undefined;
		},
		supervisor: (path) => {
			const node = nodeAt(path);
			return node instanceof Supervisor ? node : undefined;
		},
		inspect: () => [...tree(root)].map(({ node, supervision }) => node.inspect(supervision)),
		inspectOne: (path) => {
			for (const { node, supervision } of tree(root))
				if (node.path === path) return { ...node.inspect(supervision), waiting: node.waiting().slice(0, waitingShown) };
			return undefined;
		},
		get deadLetters() {
			return [...deadLetters.letters];
		},
		get counters() {
			return { ...runtime.counters, deadLetters: deadLetters.total };
		},
		watch: (listener) => {
			const own = (event: KernelEvent): void => listener(event);
			listeners.add(own);
			return () => listeners.delete(own);
		},
		stop: async () => {
			await root.halt(Number.POSITIVE_INFINITY, "for good");
			ended.resolve();
		},
		ended: ended.promise,
	};
}

interface TreeNode {
	readonly node: Actor | Supervisor;
	readonly supervision: Supervision;
}

function* tree(root: Supervisor): Iterable<TreeNode> {
	yield { node: root, supervision: { restarts: 0 } };
	yield* below(root);
}

function* below(supervisor: Supervisor): Iterable<TreeNode> {
	for (const child of supervisor.nodes()) {
		yield child;
		if (child.node instanceof Supervisor) yield* below(child.node);
	}
}
