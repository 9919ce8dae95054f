import { type AnyMachineSnapshot, type AnyStateMachine, type AnyStateNode, createActor } from "xstate";
import { kernelEffects } from "../../machines/effect.ts";
import type { Transaction } from "../../src/metadata/store/store.ts";
import type { ActorDefinition } from "./actor-definition.ts";
import { problemsOf, strangersAmong } from "./machine-check.ts";
import type { Message } from "./message.ts";
import type { Scope } from "./scope.ts";

/** An action that a step returned. */
export interface Order {
	readonly type: string;
	readonly params: unknown;
}

export interface Step {
	readonly snapshot: AnyMachineSnapshot;
	readonly orders: readonly Order[];
}

export type Contribution = (transaction: Transaction, params: unknown, scope: Scope) => void;
export type Effect = (params: unknown, scope: Scope) => unknown;

/** More eventless steps than this after one message are an endless loop; xstate itself has no limit. */
const longestMacrostep = 1_000;

const kernelOrders: ReadonlySet<string> = new Set(Object.keys(kernelEffects));
const deadlineOrders: ReadonlySet<string> = new Set(["setDeadline", "clearDeadline"]);
const answers: ReadonlySet<string> = new Set(["reply", "refuse"]);

/** Whether there is nothing in the orders but answers. */
export const onlyAnswers = (orders: readonly Order[]): boolean => orders.every(({ type }) => answers.has(type));

/** What a state node says to the kernel. */
interface StateMeta {
	readonly stash?: readonly string[];
	readonly volatile?: boolean;
}

/** A checked definition, and the pure steps of its machine. */
export class ActorLogic<Machine extends AnyStateMachine> {
	readonly kind: string;
	readonly definition: ActorDefinition<Machine>;
	readonly contributions: ReadonlyMap<string, Contribution>;
	readonly effects: ReadonlyMap<string, Effect>;
	readonly #machine: AnyStateMachine;
	readonly #held = new Map<AnyStateNode, ReadonlySet<string>>();
	readonly #volatile = new Set<AnyStateNode>();
	readonly #scope: Parameters<AnyStateMachine["transition"]>[2];
	#orders: Order[] = [];

	constructor(definition: ActorDefinition<Machine>) {
		this.kind = definition.kind;
		this.definition = definition;
		this.contributions = new Map(Object.entries(definition.contributions ?? {}) as [string, Contribution][]);
		this.effects = new Map(Object.entries(definition.effects ?? {}) as [string, Effect][]);
		this.#check();
		this.#machine = definition.machine.provide({});
		this.#machine.options = { maxIterations: longestMacrostep, ...finite(definition.machine.options) };
		this.#noteMeta(this.#machine.root);
		// xstate's transition() makes an actor, and with it an initial snapshot, at every step: one is enough
		const self = createActor(this.#machine);
		this.#scope = {
			self,
			system: self.system,
			id: "",
			sessionId: "",
			logger: () => {},
			defer: () => {},
			emit: () => {},
			stopChild: () => {},
			actionExecutor: (action) => this.#note(action.type, action.params),
		};
	}

	get machineId(): string {
		return this.#machine.id;
	}

	/** Throws what the machine's context, guards or actions throw. */
	first(input: unknown): Step {
		return this.#step(() => this.#machine.getInitialSnapshot(this.#scope, input));
	}

	next(snapshot: AnyMachineSnapshot, event: Message): Step {
		return this.#step(() => this.#machine.transition(snapshot, event, this.#scope));
	}

	restore(value: unknown, context: unknown): AnyMachineSnapshot {
		return this.#machine.resolveState({ value: value as string, context });
	}

	/** Whether the state holds requests of this type until it changes. */
	holds(snapshot: AnyMachineSnapshot, type: string): boolean {
		return this.#held.size > 0 && snapshot._nodes.some((node) => this.#held.get(node)?.has(type) === true);
	}

	/** Whether a step into a volatile state orders nothing that must be durable first: neither contributions nor answers. */
	mayBeKeptLater({ snapshot, orders }: Step): boolean {
		return (
			this.#volatile.size > 0 &&
			snapshot._nodes.some((node) => this.#volatile.has(node)) &&
			orders.every(({ type }) => this.effects.has(type) || deadlineOrders.has(type))
		);
	}

	/** Whether the state names the event, be it to say that nothing is to be done. */
	names(snapshot: AnyMachineSnapshot, type: string): boolean {
		return snapshot._nodes.some((node) => {
			if (node.transitions.has(type)) return true;
			for (const descriptor of node.transitions.keys())
				if (descriptor === "*" || (descriptor.endsWith(".*") && `${type}.`.startsWith(descriptor.slice(0, -1))))
					return true;
			return false;
		});
	}

	#step(run: () => AnyMachineSnapshot): Step {
		this.#orders = [];
		const snapshot = run();
		if (snapshot.status === "error") throw snapshot.error;
		return { snapshot, orders: this.#orders };
	}

	#note(type: string, params: unknown): void {
		if (this.effects.has(type) || this.contributions.has(type) || kernelOrders.has(type))
			this.#orders.push({ type, params });
		// a raise was put into the step's own queue already
		else if (type !== "xstate.raise" || (params as { delay?: unknown }).delay !== undefined)
			throw new Error(`machine "${this.#machine.id}" orders "${type}", which is neither a contribution nor an effect`);
	}

	#noteMeta(node: AnyStateNode): void {
		const { stash = [], volatile = false } = (node.meta ?? {}) as StateMeta;
		if (stash.length > 0) this.#held.set(node, new Set(stash));
		if (volatile) this.#volatile.add(node);
		for (const inner of Object.values(node.states)) this.#noteMeta(inner);
	}

	#check(): void {
		const { machine, durable } = this.definition;
		const own = [...this.contributions.keys(), ...this.effects.keys()];
		const problems = [
			...problemsOf(machine, new Set([...own, ...kernelOrders]), durable !== undefined),
			...strangersAmong(machine, own).map((type) => `the machine has no action "${type}"`),
			...own.filter((type) => kernelOrders.has(type)).map((type) => `"${type}" is the kernel's`),
			...own
				.filter((type) => this.contributions.has(type) && this.effects.has(type))
				.map((type) => `"${type}" is both a contribution and an effect`),
		];
		if (this.contributions.size > 0 && durable === undefined) problems.push("contributions need a durable actor");
		if (problems.length > 0)
			throw new Error(`actor "${this.kind}" cannot run machine "${machine.id}":\n${[...new Set(problems)].join("\n")}`);
	}
}

export type AnyActorLogic = ActorLogic<AnyStateMachine>;

/** Checks a definition (docs/actor-semantics.md, "What the kernel refuses at definition time") and throws what is wrong. */
export const defineActor = <Machine extends AnyStateMachine>(
	definition: ActorDefinition<Machine>,
): ActorLogic<Machine> => new ActorLogic(definition);

/** The machine's own limit, unless it is none. */
const finite = (options: { readonly maxIterations?: number }): { maxIterations?: number } =>
	options.maxIterations !== undefined && Number.isFinite(options.maxIterations)
		? { maxIterations: options.maxIterations }
		: {};
