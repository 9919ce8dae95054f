import type { AnyStateMachine, AnyStateNode } from "xstate";

/** An action as xstate keeps it: a name, a name with params, or a function; its own actions are functions with `resolve`. */
type Action = string | { readonly type: string } | ActionFunction;
interface ActionFunction {
	(...args: never[]): unknown;
	readonly type?: string;
	readonly delay?: unknown;
	readonly resolve?: unknown;
}

/** xstate's actions that are applied inside the step. The others reach for its scheduler or its actors. */
const appliedInside = new Set(["xstate.assign", "xstate.raise", "xstate.enqueueActions"]);

/** Whether xstate resolves the action itself, so that nobody has to provide it. */
const isOwnAction = (action: Action | undefined): action is ActionFunction =>
	typeof action === "function" && action.resolve !== undefined;

/**
 * What keeps a machine from being run by the kernel, in sentences. `provided` are the actions that the definition or the
 * kernel carries out.
 */
export function problemsOf(machine: AnyStateMachine, provided: ReadonlySet<string>, durable: boolean): string[] {
	const problems: string[] = [];
	const implementations = machine.implementations.actions as Readonly<Record<string, Action | undefined>>;
	const known = new Set(Object.keys(implementations));

	const checkAction = (action: Action, where: string): void => {
		if (typeof action === "function") {
			if (!isOwnAction(action)) problems.push(`${where} has an inline action; give it a name`);
			else if (!appliedInside.has(action.type ?? ""))
				problems.push(`${where} has ${action.type}, which needs xstate's own interpreter`);
			else if (action.delay !== undefined) problems.push(`${where} has a delayed raise; use setDeadline`);
			return;
		}
		const type = typeof action === "string" ? action : action.type;
		known.add(type);
		if (!isOwnAction(implementations[type]) && !provided.has(type))
			problems.push(`${where} orders "${type}", which is neither a contribution nor an effect`);
	};

	const visit = (node: AnyStateNode): void => {
		const where = `state "${node.id}"`;
		if (node.config.after !== undefined && Object.keys(node.config.after).length > 0)
			problems.push(`${where} has "after"; use setDeadline, which survives a restart`);
		if (node.invoke.length > 0) problems.push(`${where} has "invoke"; order an effect that answers by a message`);
		if (durable && node.type === "history")
			problems.push(`${where} is a history state, which a durable actor's record does not keep`);
		const transitions = [...node.transitions.values(), node.always ?? []].flat();
		const initial = node.type === "compound" ? node.initial.actions : [];
		const actions = [node.entry, node.exit, initial, ...transitions.map((transition) => transition.actions)].flat();
		for (const action of actions as readonly Action[]) checkAction(action, where);
		for (const inner of Object.values(node.states)) visit(inner);
	};
	visit(machine.root);

	for (const [type, action] of Object.entries(implementations)) {
		if (isOwnAction(action)) checkAction(action, `action "${type}"`);
		else if (!provided.has(type)) problems.push(`action "${type}" is neither a contribution nor an effect`);
	}
	return [...new Set(problems)];
}

/** Names that are provided though the machine never orders them. */
export const strangersAmong = (machine: AnyStateMachine, provided: Iterable<string>): string[] =>
	[...provided].filter((type) => !Object.hasOwn(machine.implementations.actions, type));
