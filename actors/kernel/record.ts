import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import type { Durable, RecordContent } from "./actor-definition.ts";
import type { DeadlinePlan } from "./deadlines.ts";

/** A durable actor's own record. Not xstate's persisted snapshot: restoring that starts active promise actors again. */
export interface ActorRecord extends RecordContent {
	/** Since when the actor is in its state (milliseconds since 1970), and the type of the message that brought it there. */
	readonly since: number;
	readonly by: string;
	readonly deadlines: DeadlinePlan;
}

export const encodeRecord = (record: ActorRecord, schema: number): Value => ({
	schema,
	value: record.value,
	context: record.context,
	since: record.since,
	by: record.by,
	deadlines: Object.fromEntries([...record.deadlines.values()].map(({ name, due }) => [name, due])),
});

/** Throws DataLoss for what is no record and FailedPrecondition for a schema that nobody migrates. */
export function decodeRecord(stored: Value, durable: Durable, identity: ObjectIdentity): ActorRecord {
	const record = stored as { readonly [name: string]: Value | undefined };
	const { schema, value, context, since, by, deadlines } = record;
	if (typeof schema !== "number" || value === undefined || context === undefined || typeof since !== "number")
		throw new DaemonError("DataLoss", identity, "its record is damaged");
	let content: RecordContent = { value, context };
	if (schema !== durable.schema) {
		if (durable.migrate === undefined)
			throw new DaemonError(
				"FailedPrecondition",
				identity,
				`its record has schema ${schema}, this version reads ${durable.schema}`,
			);
		content = durable.migrate(content, schema);
	}
	const due = Object.entries((deadlines ?? {}) as { readonly [name: string]: number });
	return {
		...content,
		since,
		by: typeof by === "string" ? by : "",
		deadlines: new Map(due.map(([name, at]) => [name, { name, due: at }])),
	};
}
