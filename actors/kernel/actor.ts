import type { AnyMachineSnapshot } from "xstate";
import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import { type AnyActorLogic, type Order, onlyAnswers, type Step } from "./actor-logic.ts";
import type { ActorRef, AskOptions } from "./actor-ref.ts";
import type { AskedRequest } from "./ask.ts";
import type { ActorChildSpec, Shutdown } from "./child-spec.ts";
import { Chronicle } from "./chronicle.ts";
import { type Deadline, type DeadlinePlan, Deadlines } from "./deadlines.ts";
import { FrontDoor, type Resident } from "./front-door.ts";
import { Incarnation } from "./incarnation.ts";
import type { ActorInspection, ActorStatus, WaitingMessage } from "./inspection.ts";
import { type Envelope, Mailbox } from "./mailbox.ts";
import type { Message } from "./message.ts";
import type { Node, NodeEnded, Runtime, StopPurpose, Supervision } from "./node.ts";
import { decodeRecord } from "./record.ts";
import { type Passage, stageStep } from "./stage-step.ts";
import { sameState, stateInWords } from "./state-value.ts";
import { within } from "./within.ts";

const defaultMailbox = 1_024;
const defaultStash = 256;
/** Before the kernel's own message is tried again after a commit that the store refused. */
const pauseMs = 1_000;

/** What the commit of a step needs to know about its cause. */
interface Cause {
	readonly message: Message;
	readonly envelope: Envelope | undefined;
}

/**
 * A name, a mailbox and the actor that presently lives in it. docs/actor-semantics.md is the contract. One message at a
 * time: the actor is idle, or in a step (synchronous), or its step is on the way to the disk.
 */
export class Actor implements Node, ActorRef, Resident {
	readonly path: string;
	readonly #runtime: Runtime;
	readonly #onEnded: NodeEnded;
	readonly #mailbox: Mailbox;
	readonly #door: FrontDoor;
	readonly #deadlines: Deadlines;
	readonly #chronicle: Chronicle;
	#spec: ActorChildSpec;
	#phase: Exclude<ActorStatus, "committing"> = "starting";
	/** What comes in is refused, not kept for a restart. */
	#closing = false;
	#incarnation: Incarnation | undefined;
	#snapshot: AnyMachineSnapshot | undefined;
	/** Settles, without an error, when the step that is on its way to the disk has been dealt with. */
	#commit: Promise<void> | undefined;
	/** Steps into volatile states since the last record, and the requests that led there. */
	#unsaved: readonly (Passage & { readonly request: string })[] = [];
	#scheduled = false;
	#cancelPause: (() => void) | undefined;
	/** A commit that settled after its incarnation was cut off had reached a final state. */
	#endedUnseen = false;

	constructor(runtime: Runtime, path: string, spec: ActorChildSpec, onEnded: NodeEnded) {
		const { mailbox = defaultMailbox, stash = defaultStash } = spec.logic.definition;
		this.path = path;
		this.#runtime = runtime;
		this.#spec = spec;
		this.#onEnded = onEnded;
		this.#mailbox = new Mailbox(mailbox, stash);
		this.#door = new FrontDoor(runtime, this.#mailbox, this);
		this.#chronicle = new Chronicle(runtime.clock);
		this.#deadlines = new Deadlines(runtime.clock, (deadline) => this.#deadlinePassed(deadline));
	}

	get identity(): ObjectIdentity {
		return this.#spec.identity;
	}

	get #logic(): AnyActorLogic {
		return this.#spec.logic;
	}

	get #state(): Value {
		return (this.#snapshot?.value as Value | undefined) ?? null;
	}

	/** Before a start with a specification that was computed anew. */
	specify(spec: ActorChildSpec): void {
		this.#spec = spec;
	}

	// ---- senders

	ask(message: Message, options: AskOptions): Promise<Value> {
		return this.#door.ask(message, options);
	}

	tell(message: Message): Promise<void> {
		return this.#door.tell(message);
	}

	/** Messages that come while it is in backoff wait for its successor. */
	get gone(): readonly [ErrorCode, string] | undefined {
		if (this.#phase === "ended") return ["NotFound", "has ended"];
		return this.#phase === "stopped" || this.#closing ? ["Unavailable", "is being stopped"] : undefined;
	}

	stateInWords(): string {
		return `in state ${stateInWords(this.#state)}`;
	}

	#deadlinePassed(deadline: Deadline): void {
		const message = { type: "deadline.passed", name: deadline.name };
		this.#mailbox.user.push({ lane: "deadline", message, since: this.#runtime.clock.now(), deadline });
		this.wake();
	}

	// ---- one message at a time

	get #isIdle(): boolean {
		return (
			this.#phase === "running" &&
			this.#commit === undefined &&
			this.#cancelPause === undefined &&
			this.#snapshot !== undefined
		);
	}

	wake(): void {
		if (this.#scheduled || this.#mailbox.isEmpty || !this.#isIdle) return;
		this.#scheduled = true;
		this.#runtime.scheduler.schedule(this.#takeNext);
	}

	readonly #takeNext = (): void => {
		this.#scheduled = false;
		const envelope = this.#isIdle ? this.#mailbox.next() : undefined;
		if (envelope === undefined) return;
		this.#chronicle.busy(() => {
			try {
				this.#take(envelope);
			} catch (error) {
				this.#crash(error, { message: envelope.message, envelope });
			}
		});
		this.wake();
	};

	#take(envelope: Envelope): void {
		const snapshot = this.#snapshot as AnyMachineSnapshot;
		const { type } = envelope.message;
		switch (envelope.lane) {
			case "request":
				this.#takeRequest(envelope, snapshot);
				return;
			case "fact":
				if (this.#logic.names(snapshot, type)) break;
				envelope.acknowledge?.resolve();
				this.deadLetter(envelope.message, `not known ${this.stateInWords()}`);
				return;
			case "deadline":
				if (this.#deadlines.stands(envelope.deadline)) break;
				return;
			case "system":
				if (this.#logic.names(snapshot, type)) break;
				return;
		}
		this.#step(snapshot, envelope.message, envelope);
	}

	#takeRequest(request: AskedRequest, snapshot: AnyMachineSnapshot): void {
		const { message, id } = request;
		if (this.#logic.holds(snapshot, message.type)) {
			if (this.#mailbox.hold(request)) return;
			this.#runtime.counters.overflows++;
			request.refuse(this.#error("ResourceExhausted", `too many requests wait ${this.stateInWords()}`));
			return;
		}
		const event = { ...message, request: id };
		if (!snapshot.can(event)) {
			const worded = this.#logic.definition.refuse?.(message as never, snapshot);
			const { code, problem } = worded ?? {
				code: "FailedPrecondition" as const,
				problem: `cannot ${message.type} ${this.stateInWords()}`,
			};
			request.refuse(this.#error(code, problem));
			return;
		}
		if (this.#mailbox.open.size >= this.#mailbox.capacity) {
			this.#runtime.counters.overflows++;
			request.refuse(
				this.#error("ResourceExhausted", `too many requests are not yet answered, ${this.stateInWords()}`),
			);
			return;
		}
		this.#mailbox.open.set(id, request);
		this.#step(snapshot, event, request);
	}

	#step(snapshot: AnyMachineSnapshot, event: Message, envelope: Envelope): void {
		const step = this.#logic.next(snapshot, event);
		const passed = envelope.lane === "deadline" ? envelope.deadline : undefined;
		const plan = this.#deadlines.plan(step.orders, passed);
		this.#chronicle.processed(event.type);
		if (step.snapshot === snapshot && step.orders.length === 0 && plan === this.#deadlines.current) {
			if (envelope.lane === "fact") envelope.acknowledge?.resolve();
			return;
		}
		const cause = { message: event, envelope };
		if (this.#logic.definition.durable === undefined) this.#apply(step, plan, cause);
		else if (this.#isAnswered(snapshot, step, plan)) this.#apply(step, plan, cause);
		else if (envelope.lane === "request" && this.#logic.mayBeKeptLater(step)) {
			const passage = { from: this.#state, to: step.snapshot.value as Value, message: event, request: envelope.id };
			this.#unsaved = [...this.#unsaved, passage];
			this.#apply(step, plan, cause);
		} else void this.#commitStep(step, plan, cause);
	}

	/** Nothing changes, and what the answer tells is durable. */
	#isAnswered(before: AnyMachineSnapshot, { snapshot, orders }: Step, plan: DeadlinePlan): boolean {
		return (
			this.#unsaved.length === 0 &&
			snapshot.context === before.context &&
			snapshot.status === before.status &&
			sameState(snapshot.value as Value, before.value as Value) &&
			plan === this.#deadlines.current &&
			onlyAnswers(orders)
		);
	}

	// ---- commit

	/**
	 * Resolves when the step is durable and applied, or undone. A refusal of the store undoes the step; an error of ours (a
	 * contribution, a context that is no plain data) is the actor's crash, or its failed start.
	 */
	#commitStep(step: Step, deadlines: DeadlinePlan, cause: Cause): Promise<CommitResult> {
		const incarnation = this.#incarnation as Incarnation;
		const { logic, durable } = this.#requireDurable();
		const { message } = cause;
		const from = this.#state;
		const before = incarnation.context;
		incarnation.context = step.snapshot.context;
		let ours: { readonly error: unknown } | undefined;
		const settled = this.#requireStore().update((transaction) => {
			try {
				const { identity } = this;
				const { since, by } = this.#chronicle.after(from, step.snapshot.value as Value, message.type);
				const earlier = this.#unsaved.map(({ request: _, ...passage }) => passage);
				const parts = { logic, durable, identity, earlier, from, step, message, since, by, deadlines };
				stageStep(transaction, { ...parts, scope: incarnation });
			} catch (error) {
				ours = { error };
				throw error;
			}
		});
		const result = settled.then(
			(): CommitResult => {
				this.#commit = undefined;
				this.#unsaved = [];
				if (cause.envelope?.lane === "fact") cause.envelope.acknowledge?.resolve(); // durable, whatever happens next
				if (incarnation.over) this.#noteLost(step, cause);
				else this.#applyAndWake(step, deadlines, cause);
				return { kind: "durable" };
			},
			(error: unknown): CommitResult => {
				this.#commit = undefined;
				incarnation.context = before;
				if (ours === undefined || incarnation.over)
					this.#undo(DaemonError.from(error, this.identity, "Unavailable"), cause);
				else if (cause.envelope !== undefined) this.#crash(ours.error, cause);
				return { kind: "failed", error };
			},
		);
		this.#commit = result.then(() => undefined);
		return result;
	}

	/** The store refused: the actor is as it was before the message. */
	#undo(error: DaemonError, { envelope }: Cause): void {
		if (envelope === undefined) return;
		switch (envelope.lane) {
			case "request":
				this.#mailbox.open.delete(envelope.id);
				envelope.refuse(error);
				break;
			case "fact":
				if (envelope.acknowledge !== undefined) {
					envelope.acknowledge.reject(error);
					break;
				}
				this.#tryAgain(envelope);
				break;
			default:
				this.#tryAgain(envelope);
		}
		this.wake();
	}

	/** Nobody would repeat it. */
	#tryAgain(envelope: Envelope): void {
		this.#mailbox.putBack(envelope);
		if (this.#cancelPause !== undefined || this.#phase !== "running") return;
		this.#cancelPause = this.#runtime.clock.after(pauseMs, () => {
			this.#cancelPause = undefined;
			this.wake();
		});
	}

	/** The step is durable, but the incarnation that would have run its effects was cut off meanwhile. */
	#noteLost({ snapshot }: Step, { envelope }: Cause): void {
		this.#endedUnseen = snapshot.status === "done";
		if (envelope?.lane !== "request") return;
		this.#mailbox.settle(envelope.id, (request) =>
			request.refuse(this.#error("Aborted", `${request.message.type} was taken, but the actor was cut off`)),
		);
	}

	#applyAndWake(step: Step, plan: DeadlinePlan, cause: Cause): void {
		this.#chronicle.busy(() => this.#apply(step, plan, cause));
		this.wake();
	}

	/** Never throws: the step is a fact now, and what its effects throw is a crash of its own. */
	#apply(step: Step, plan: DeadlinePlan, cause: Cause): void {
		const incarnation = this.#incarnation as Incarnation;
		const from = this.#state;
		const { snapshot, orders } = step;
		this.#snapshot = snapshot;
		incarnation.context = snapshot.context;
		const to = snapshot.value as Value;
		const transition = this.#chronicle.transition(from, to, cause.message.type);
		if (this.#runtime.watched) this.#runtime.emit({ type: "transition", path: this.path, transition });
		this.#deadlines.apply(plan);
		if (!sameState(from, to)) this.#mailbox.release();
		if (cause.envelope?.lane === "fact") cause.envelope.acknowledge?.resolve();
		if (snapshot.status === "done") {
			for (const order of orders) this.#runAtTheEnd(order, incarnation, cause);
			this.#end();
			return;
		}
		try {
			for (const order of orders) this.#run(order, incarnation, cause);
		} catch (error) {
			this.#crash(error, cause, "acknowledged");
		}
	}

	#run({ type, params }: Order, incarnation: Incarnation, cause: Cause): void {
		const effect = this.#logic.effects.get(type);
		if (effect !== undefined) {
			const result = effect(params, incarnation);
			if (result instanceof Promise)
				result.catch((error: unknown) => {
					if (!incarnation.over) this.#crash(error, cause, "acknowledged");
				});
		} else if (type === "reply") {
			const { request, value } = params as { readonly request: string; readonly value?: Value };
			this.#settle(request, (asked) => asked.answer(value ?? null));
		} else if (type === "refuse") {
			const { request, code, problem } = params as { request: string; code: ErrorCode; problem: string };
			this.#settle(request, (asked) => asked.refuse(this.#error(code, problem)));
		}
	}

	/** The record is gone: a failing effect cannot be repeated by a successor, and does not undo the end. */
	#runAtTheEnd(order: Order, incarnation: Incarnation, cause: Cause): void {
		try {
			this.#run(order, incarnation, cause);
		} catch (error) {
			this.#noteCrash(error, cause.message);
		}
	}

	#settle(id: string, settle: (request: AskedRequest) => void): void {
		if (!this.#mailbox.settle(id, settle)) this.#runtime.counters.lateReplies++;
	}

	// ---- life

	async launch(): Promise<void> {
		const incarnation = new Incarnation(this, this.identity, this.#runtime.clock, (fact) => this.#door.answer(fact));
		this.#incarnation = incarnation;
		this.#phase = "starting";
		this.#closing = false;
		try {
			await this.#begin(incarnation);
		} catch (error) {
			if (this.#incarnation === incarnation && !incarnation.over) {
				this.#close();
				this.#phase = "backoff";
			}
			throw DaemonError.from(error, this.identity, "Internal");
		}
	}

	async #begin(incarnation: Incarnation): Promise<void> {
		// the predecessor's last step may still be on its way to the disk
		while (this.#commit !== undefined) await this.#commit;
		if (incarnation.over) throw this.#error("Aborted", "was stopped while it started");
		this.#snapshot = undefined;
		if (this.#endedUnseen) {
			this.#endedUnseen = false;
			this.#end();
			return;
		}
		const { durable } = this.#logic.definition;
		if (durable !== undefined) {
			const record = this.#requireStore().get(durable.key(this.identity));
			if (record !== undefined) return this.#restore(record, incarnation);
		}
		if (this.#spec.start === "from record") throw this.#error("NotFound", "has no record to be restored from");
		const { input } = this.#spec.start;
		const step = this.#logic.first(input);
		const plan = this.#deadlines.plan(step.orders, undefined);
		const cause = { message: { type: "started", input } as Message, envelope: undefined };
		this.#phase = "running";
		if (durable === undefined) this.#applyAndWake(step, plan, cause);
		else {
			const result = await this.#commitStep(step, plan, cause);
			if (result.kind === "failed") throw result.error;
		}
	}

	#restore(stored: Value, incarnation: Incarnation): void {
		const record = decodeRecord(stored, this.#requireDurable().durable, this.identity);
		this.#snapshot = this.#logic.restore(record.value, record.context);
		incarnation.context = record.context;
		this.#chronicle.restored(record);
		const since = this.#runtime.clock.now();
		for (const waiting of this.#mailbox.system.items())
			if (waiting.message.type === "restored") this.#mailbox.system.remove(waiting); // its predecessor's
		this.#mailbox.system.prepend([{ lane: "system", message: { type: "restored" }, since }]);
		this.#deadlines.apply(record.deadlines);
		this.#phase = "running";
		this.wake();
	}

	async halt(shutdown: Shutdown, purpose: StopPurpose): Promise<void> {
		const forGood = purpose === "for good";
		if (this.#phase === "ended") return;
		this.#closing = forGood;
		const incarnation = this.#incarnation;
		if (incarnation !== undefined && !incarnation.over) {
			this.#phase = "stopping";
			if (shutdown !== "brutal")
				await within(
					this.#runtime.clock,
					shutdown,
					Promise.race([this.#finishWork(incarnation), incarnation.finished]),
				);
			if ((this.#phase as ActorStatus) === "ended") return; // its last step was its final one
			this.#close();
		}
		this.#closing = false;
		this.#phase = forGood ? "stopped" : "backoff";
		if (forGood) this.#refuseAll();
		else this.#keepForSuccessor();
	}

	/** The step under way, with its effects, and the definition's own farewell. Never rejects. */
	async #finishWork(incarnation: Incarnation): Promise<void> {
		while (this.#commit !== undefined) await this.#commit;
		if (incarnation.over) return;
		try {
			await this.#logic.definition.terminate?.(incarnation as never);
		} catch (error) {
			this.#noteError(error);
		}
	}

	retire(): void {
		this.#close();
		this.#phase = "ended";
		this.#refuseAll();
	}

	/** Reached a final state. */
	#end(): void {
		this.#close();
		this.#phase = "ended";
		this.#refuseAll();
		this.#onEnded({ kind: "normal" });
	}

	#crash(
		error: unknown,
		{ message, envelope }: Cause,
		fact: "unacknowledged" | "acknowledged" = "unacknowledged",
	): void {
		this.#close();
		const problem = this.#noteCrash(error, message);
		if (envelope !== undefined && (fact === "unacknowledged" || envelope.lane === "request"))
			this.deadLetter(envelope.message, problem.problem);
		if (envelope?.lane === "request") {
			this.#mailbox.open.delete(envelope.id);
			envelope.refuse(problem);
		} else if (envelope?.lane === "fact" && envelope.acknowledge !== undefined && fact === "unacknowledged") {
			this.#door.keepOut(envelope.message);
			envelope.acknowledge.reject(this.#error("Aborted", problem.problem, error));
		}
		if (this.#phase === "stopping") return;
		this.#phase = "backoff";
		this.#keepForSuccessor();
		this.#onEnded({ kind: "failed", error: problem });
	}

	#noteCrash(error: unknown, message: Message): DaemonError {
		const problem = this.#noteError(error);
		this.#runtime.counters.crashes++;
		this.#runtime.emit({ type: "crashed", path: this.path, error: problem, message: message.type });
		return problem;
	}

	#noteError(error: unknown): DaemonError {
		const words = error instanceof Error ? error.message : String(error);
		const problem = this.#error("Internal", `crashed ${this.stateInWords()}: ${words}`, error);
		this.#chronicle.failed(problem);
		return problem;
	}

	#close(): void {
		this.#incarnation?.finish();
		this.#deadlines.disarm();
		this.#cancelPause?.();
		this.#cancelPause = undefined;
	}

	/** Same mailbox: held requests go back to its front; a durable successor may still answer what was taken. */
	#keepForSuccessor(): void {
		this.#mailbox.release();
		// no record tells a successor of these
		for (const { request, message } of this.#unsaved)
			this.#mailbox.settle(request, (asked) =>
				asked.refuse(this.#error("Aborted", `was restarted without an answer to ${message.type}`)),
			);
		this.#unsaved = [];
		if (this.#logic.definition.durable === undefined) this.#refuseOpen("was restarted");
	}

	#refuseOpen(what: string): void {
		this.#mailbox.refuseOpen(({ message }) => this.#error("Aborted", `${what} without an answer to ${message.type}`));
	}

	#refuseAll(): void {
		const [code, problem] = this.gone ?? ["Unavailable", "is being stopped"];
		this.#mailbox.refuseWaiting(this.#error(code, problem), (message) => this.deadLetter(message, problem));
		this.#refuseOpen(this.#phase === "ended" ? "ended" : "was stopped");
	}

	deadLetter(message: Message, reason: string): void {
		const { transitions } = this.#chronicle;
		const letter = { time: this.#runtime.clock.now(), path: this.path, message, reason, transitions };
		this.#runtime.deadLetters.keep(letter);
		this.#runtime.emit({ type: "dead letter", letter });
	}

	#requireStore() {
		const { store } = this.#runtime;
		if (store === undefined) throw this.#error("FailedPrecondition", "is durable, but the system has no store");
		return store;
	}

	#requireDurable() {
		const { durable } = this.#logic.definition;
		if (durable === undefined) throw this.#error("Internal", "is not durable");
		return { logic: this.#logic, durable };
	}

	#error(code: ErrorCode, problem: string, cause?: unknown): DaemonError {
		return new DaemonError(code, this.identity, problem, cause === undefined ? undefined : { cause });
	}

	// ---- inspection

	get status(): ActorStatus {
		return this.#phase === "running" && this.#commit !== undefined ? "committing" : this.#phase;
	}

	inspect(supervision: Supervision): ActorInspection {
		return {
			...supervision,
			node: "actor",
			path: this.path,
			status: this.status,
			kind: this.#logic.kind,
			identity: this.identity,
			durable: this.#logic.definition.durable !== undefined,
			state: this.#state,
			...this.#mailbox.inspect(),
			deadlines: [...this.#deadlines.current.values()].sort((one, other) => one.due - other.due),
			...this.#chronicle.inspect(),
		};
	}

	waiting(): readonly WaitingMessage[] {
		return this.#mailbox.waiting();
	}
}

type CommitResult = { readonly kind: "durable" } | { readonly kind: "failed"; readonly error: unknown };
