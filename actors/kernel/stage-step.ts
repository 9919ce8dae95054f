import type { ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { Transaction, Value } from "../../src/metadata/store/store.ts";
import type { Durable } from "./actor-definition.ts";
import type { AnyActorLogic, Step } from "./actor-logic.ts";
import type { DeadlinePlan } from "./deadlines.ts";
import type { Message } from "./message.ts";
import { encodeRecord } from "./record.ts";
import type { Scope } from "./scope.ts";

/** A transition for the journal. */
export interface Passage {
	readonly from: Value;
	readonly to: Value;
	readonly message: Message;
}

export interface StagedStep {
	readonly logic: AnyActorLogic;
	readonly durable: Durable;
	readonly identity: ObjectIdentity;
	/** Transitions before this one that are not in the journal yet. */
	readonly earlier: readonly Passage[];
	readonly from: Value;
	readonly step: Step;
	readonly message: Message;
	readonly since: number;
	readonly by: string;
	readonly deadlines: DeadlinePlan;
	readonly scope: Scope;
}

/** Everything that becomes durable together: the contributions, the actor's record, the transition. */
export function stageStep(transaction: Transaction, staged: StagedStep): void {
	const { logic, durable, identity, earlier, from, step, message, since, by, deadlines, scope } = staged;
	const { snapshot, orders } = step;
	for (const { type, params } of orders) logic.contributions.get(type)?.(transaction, params, scope);
	const to = snapshot.value as Value;
	const key = durable.key(identity);
	if (snapshot.status === "done") transaction.delete(key);
	else {
		const context = snapshot.context as Value;
		transaction.put(key, encodeRecord({ value: to, context, since, by, deadlines }, durable.schema));
	}
	for (const passage of [...earlier, { from, to, message }])
		transaction.record({
			kind: "transition",
			namespace: identity.namespace ?? "",
			subject: scope.path,
			body: { machine: logic.machineId, ...passage, message: passage.message as unknown as Value },
		});
}
