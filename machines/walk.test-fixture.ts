/**
 * Walks every state that a machine reaches with a set of messages, and from each tries every message once more. What a
 * step orders is collected along the shortest path to it, so that a rule can speak about all that was ordered so far.
 */
import assert from "node:assert/strict";
import { type AnyMachineSnapshot, type AnyStateMachine, initialTransition, transition } from "xstate";
import { getShortestPaths } from "xstate/graph";

export interface Message {
	readonly type: string;
	readonly request?: string;
	readonly [field: string]: unknown;
}

export interface Order {
	readonly type: string;
	readonly params: Record<string, unknown>;
}

export interface Step {
	readonly message: Message;
	readonly from: AnyMachineSnapshot;
	readonly to: AnyMachineSnapshot;
	readonly orders: readonly Order[];
}

/** A path from the initial state; its last step is the one that a test looks at. */
export type Path = readonly Step[];

export const text = (value: unknown): string =>
	JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}n` : part));

/** The state's name, with dots: `layers.committing`. */
export const stateOf = (snapshot: AnyMachineSnapshot): string => {
	const name = (value: unknown): string =>
		typeof value === "string"
			? value
			: Object.entries(value as Record<string, unknown>)
					.map(([outer, inner]) => `${outer}.${name(inner)}`)
					.join("+");
	return name(snapshot.value);
};

export const stashOf = (snapshot: AnyMachineSnapshot): ReadonlySet<string> =>
	new Set(Object.values(snapshot.getMeta()).flatMap((meta) => (meta as { stash?: string[] }).stash ?? []));

export const describePath = (path: Path): string =>
	path.map(({ message, to }) => `${message.type} → ${stateOf(to)}`).join(", ");

/** What the kernel does with one message: hold it, refuse it, or step. */
export function step(machine: AnyStateMachine, from: AnyMachineSnapshot, message: Message): Step {
	const held = message.request !== undefined && message.type !== "request.cancelled" && stashOf(from).has(message.type);
	const refused =
		message.request !== undefined && message.type !== "request.cancelled" && !held && !from.can(message as never);
	if (held || refused) return { message, from, to: from, orders: [] };
	const [to, actions] = transition(machine, from, message as never);
	return { message, from, to: to as AnyMachineSnapshot, orders: ordersIn(actions) };
}

const ordersIn = (actions: readonly { readonly type: string; readonly params: unknown }[]): readonly Order[] =>
	actions.map(({ type, params }) => ({ type, params: (params ?? {}) as Record<string, unknown> }));

/**
 * Replays messages; each request gets an id of its own (`<type>#<position>`). The first step of the path is the start.
 */
export function replay(machine: AnyStateMachine, input: unknown, messages: readonly Message[]): Path {
	const [start, actions] = initialTransition(machine, input as never);
	let at = start as AnyMachineSnapshot;
	const path: Step[] = [{ message: { type: "started" }, from: at, to: at, orders: ordersIn(actions) }];
	for (const [position, message] of messages.entries()) {
		const request = message.request === "new" ? { request: `${message.type}#${position}` } : {};
		const taken = step(machine, at, { ...message, ...request });
		at = taken.to;
		path.push(taken);
	}
	return path;
}

/** All paths: a shortest one to each state the machine can reach, and from there every message. */
export function walk(
	machine: AnyStateMachine,
	input: unknown,
	messages: readonly Message[],
	/** The part of the context that tells two situations apart. */
	distinguish: (context: Record<string, unknown>) => unknown,
): readonly Path[] {
	const allowed = (state: AnyMachineSnapshot, message: Message): boolean =>
		state.status === "active" && !(message.request !== undefined && stashOf(state).has(message.type));
	const paths = getShortestPaths(machine, {
		input: input as never,
		events: messages as never,
		filterEvents: allowed as never,
		serializeState: ((state: AnyMachineSnapshot) => text([state.value, distinguish(state.context)])) as never,
		serializeEvent: text as never,
		limit: 200_000,
	});
	assert.ok(paths.length > 1, "the machine never leaves its first state");
	return paths.flatMap(({ steps }) => {
		const way = steps.map(({ event }) => event as unknown as Message).filter(({ type }) => !type.startsWith("xstate."));
		const path = replay(machine, input, way);
		const end = path.at(-1)?.to;
		if (end !== undefined && end.status !== "active") return [path];
		return messages.map((message) => replay(machine, input, [...way, message]));
	});
}

export const ordersOf = (path: Path): readonly Order[] => path.flatMap(({ orders }) => orders);

/** Fails unless every request was answered at most once, and once when the state that served it is left. */
export function checkAnswers(path: Path): void {
	const answers = ordersOf(path)
		.filter(({ type }) => type === "reply" || type === "refuse")
		.map(({ params }) => params.request as string)
		.filter((request) => request !== ""); // whom nobody asked yet
	assert.equal(new Set(answers).size, answers.length, `answered twice: ${answers} (${describePath(path)})`);
	for (const answer of answers)
		assert.ok(
			answer === "passed" || path.some(({ message }) => message.request === answer),
			`answer to ${answer}, which nobody asked (${describePath(path)})`,
		);
}

/** Deadlines that are armed after the path. */
export function armedAfter(path: Path): ReadonlySet<string> {
	const armed = new Set<string>();
	for (const { message, orders } of path) {
		if (message.type === "deadline.passed") armed.delete(message.name as string);
		for (const { type, params } of orders) {
			if (type === "setDeadline") armed.add(params.name as string);
			if (type === "clearDeadline") armed.delete(params.name as string);
		}
	}
	return armed;
}

/**
 * Fails unless each state that has asked something of the outside (an `ask…` order or one of `questions` on entry) has
 * exactly one deadline, which leads out of it, and no deadline is armed where nothing is awaited.
 */
export function checkDeadlines(machine: AnyStateMachine, path: Path, settled: ReadonlySet<string>): void {
	const last = path.at(-1);
	if (last === undefined || last.to.status !== "active") return;
	const armed = [...armedAfter(path)];
	const state = stateOf(last.to);
	if (settled.has(state)) {
		assert.deepEqual(armed, [], `${state} awaits nothing, yet has a deadline (${describePath(path)})`);
		return;
	}
	assert.equal(armed.length, 1, `${state} waits with ${armed.length} deadlines (${describePath(path)})`);
	const after = step(machine, last.to, { type: "deadline.passed", name: armed[0] });
	assert.notEqual(stateOf(after.to), state, `the deadline of ${state} leads nowhere`);
}
