import type { AnyStateMachine, InputFrom } from "xstate";
import type { ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { Reader } from "../../src/metadata/store/store.ts";
import type { ActorLogic, AnyActorLogic } from "./actor-logic.ts";
import type { ActorRef } from "./actor-ref.ts";
import type { FactOf, Message, RequestOf } from "./message.ts";

/** `permanent`: always restarted. `transient`: if it failed. `temporary`: never. */
export type Restart = "permanent" | "transient" | "temporary";

/** Milliseconds to stop in, or `brutal`: cut off at once. */
export type Shutdown = number | "brutal";

export type Strategy = "one_for_one" | "one_for_all" | "rest_for_one";

interface ChildSpecBase {
	/** Last part of the path; may contain `/`. Unique below its supervisor. */
	readonly id: string;
	/** Default permanent. */
	readonly restart: Restart;
	readonly shutdown: Shutdown;
}

export interface ActorChildSpec<Ref extends ActorRef = ActorRef> extends ChildSpecBase {
	readonly logic: AnyActorLogic;
	readonly identity: ObjectIdentity;
	readonly start: { readonly input: unknown } | "from record";
	/** Only for the compiler: what kind of reference the child has. */
	readonly ref?: Ref;
}

export interface SupervisorChildSpec extends ChildSpecBase {
	readonly supervisor: SupervisorSpec;
}

export type ChildSpec = ActorChildSpec | SupervisorChildSpec;

export interface Backoff {
	/** Before the first restart. Default 50 ms. */
	readonly firstMs: number;
	/** Doubled up to this. Default 10,000 ms. */
	readonly maxMs: number;
	/** Part of the delay that is taken off at random, 0 to 1. Default 0.5. */
	readonly jitter: number;
	/** A child that ran this long starts anew with the first delay. Default 30,000 ms. */
	readonly resetMs: number;
}

export interface SupervisorSpec {
	readonly strategy: Strategy;
	/** Computed anew at each start of the supervisor: a tree is rebuilt from its records. Dynamic children may follow. */
	readonly children?: readonly ChildSpec[] | ((reader: Reader) => readonly ChildSpec[]);
	/** More restarts than this within `periodMs` and the supervisor gives up. Default 1. */
	readonly intensity?: number;
	/** Default 5,000 ms. */
	readonly periodMs?: number;
	readonly backoff?: Partial<Backoff>;
}

export type RefOf<Machine extends AnyStateMachine> = ActorRef<RequestOf<Machine> & Message, FactOf<Machine> & Message>;

interface ChildOptions<Machine extends AnyStateMachine> {
	readonly id: string;
	readonly logic: ActorLogic<Machine>;
	/** What the actor is, in errors, in the journal and for its record's key. Default: the logic's kind and the id. */
	readonly identity?: ObjectIdentity;
	/** Default permanent. */
	readonly restart?: Restart;
	/** Default 5,000 ms. */
	readonly shutdown?: Shutdown;
}

/** A child that is restored if it has a record, and otherwise begins with `input`. */
export const child = <Machine extends AnyStateMachine>(
	options: ChildOptions<Machine> & { readonly input: InputFrom<Machine> },
): ActorChildSpec<RefOf<Machine>> => ({ ...specOf(options), start: { input: options.input } });

/** A child whose record is known to exist; its start fails with NotFound otherwise. */
export const restoredChild = <Machine extends AnyStateMachine>(
	options: ChildOptions<Machine>,
): ActorChildSpec<RefOf<Machine>> => ({ ...specOf(options), start: "from record" });

/** A supervisor as a child; its children each have their own shutdown time, so it has none unless given. */
export const supervisorChild = (options: {
	readonly id: string;
	readonly supervisor: SupervisorSpec;
	readonly restart?: Restart;
	readonly shutdown?: Shutdown;
}): SupervisorChildSpec => ({
	id: options.id,
	supervisor: options.supervisor,
	restart: options.restart ?? "permanent",
	shutdown: options.shutdown ?? Number.POSITIVE_INFINITY,
});

const specOf = <Machine extends AnyStateMachine>(options: ChildOptions<Machine>) => ({
	id: options.id,
	logic: options.logic as unknown as AnyActorLogic,
	identity: options.identity ?? { kind: options.logic.kind, id: options.id },
	restart: options.restart ?? ("permanent" as const),
	shutdown: options.shutdown ?? 5_000,
});
