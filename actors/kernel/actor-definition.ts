import type { AnyStateMachine, ContextFrom, ParameterizedObject, SnapshotFrom, StateMachine } from "xstate";
import type { ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import type { Transaction, Value } from "../../src/metadata/store/store.ts";
import type { FactOf, Message, RequestOf } from "./message.ts";
import type { Scope } from "./scope.ts";

type ActionOf<Machine> =
	Machine extends StateMachine<
		infer _Context,
		infer _Event,
		infer _Children,
		infer _Actor,
		infer Action,
		infer _Guard,
		infer _Delay,
		infer _StateValue,
		infer _Tag,
		infer _Input,
		infer _Output,
		infer _Emitted,
		infer _Meta,
		infer _Schema,
		infer _TransitionMeta
	>
		? Action
		: never;

type ParamsOf<Action extends ParameterizedObject, Type> = Action extends { type: Type; params?: infer Params }
	? Params
	: never;

export type ScopeOf<Machine extends AnyStateMachine> = Scope<
	ContextFrom<Machine>,
	RequestOf<Machine> & Message,
	FactOf<Machine> & Message
>;

/** Runs inside the transaction of the actor's record: publishes events, changes metadata. Synchronous; a throw crashes. */
export type Contributions<Machine extends AnyStateMachine> = {
	readonly [Type in ActionOf<Machine>["type"]]?: (
		transaction: Transaction,
		params: ParamsOf<ActionOf<Machine>, Type>,
		scope: ScopeOf<Machine>,
	) => void;
};

/**
 * Runs after the commit: starts work that answers by `scope.send`. Errors of that work come back as data in messages. It
 * may run twice around a crash: make it repeatable.
 */
export type Effects<Machine extends AnyStateMachine> = {
	readonly [Type in ActionOf<Machine>["type"]]?: (
		params: ParamsOf<ActionOf<Machine>, Type>,
		scope: ScopeOf<Machine>,
	) => void;
};

/** How a request is refused on the wire. */
export interface RequestRefusal {
	readonly code: ErrorCode;
	/** Without the actor's identity, which the error adds. */
	readonly problem: string;
}

/** What survives the process. */
export interface Durable {
	/** Version of `value` and `context` in the record. */
	readonly schema: number;
	/** The record's place in the store, such as `v1/default/task/web`. */
	readonly key: (identity: ObjectIdentity) => string;
	/** Brings a record of an older schema to the present one; without it the start fails with FailedPrecondition. */
	readonly migrate?: (record: RecordContent, schema: number) => RecordContent;
}

export interface RecordContent {
	/** The machine's state value. */
	readonly value: Value;
	readonly context: Value;
}

/** A machine with everything that lets it act. */
export interface ActorDefinition<Machine extends AnyStateMachine> {
	/** The field's word for what the actor is: task, process, shim … */
	readonly kind: string;
	/**
	 * Events with a `request` id are its requests. State nodes name the requests they hold in `meta: { stash: ['kill'] }`.
	 * No `after`, no `invoke`, no spawned actors, no inline actions: see docs/actor-semantics.md.
	 */
	readonly machine: Machine;
	/** Absent: the actor is ephemeral and a restart begins at its initial state. A durable context is plain data. */
	readonly durable?: Durable;
	readonly contributions?: Contributions<Machine>;
	readonly effects?: Effects<Machine>;
	/**
	 * Words the refusal of a request that the state does not accept; undefined for the kernel's own words
	 * (FailedPrecondition, naming the state).
	 */
	readonly refuse?: (request: RequestOf<Machine>, snapshot: SnapshotFrom<Machine>) => RequestRefusal | undefined;
	/** Awaited, within the shutdown time, when the actor is stopped by its supervisor. Not called for a crash or an end. */
	readonly terminate?: (scope: ScopeOf<Machine>) => void | Promise<void>;
	/** Messages that may wait; default 1024. Also the number of requests taken and not yet answered. */
	readonly mailbox?: number;
	/** Requests that may be held; default 256. */
	readonly stash?: number;
}
