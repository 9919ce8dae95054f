import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import type { Value } from "../../src/metadata/store/store.ts";
import type { AskOptions } from "./actor-ref.ts";
import { type Asked, AskedRequest, type GoneReason } from "./ask.ts";
import { ClosedDoor } from "./closed-door.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Message } from "./message.ts";
import type { Runtime } from "./node.ts";

/** What the door must know about the actor behind it. */
export interface Resident {
	readonly identity: ObjectIdentity;
	/** Why nobody takes messages any more; undefined while somebody does, or will after a restart. */
	readonly gone: readonly [code: ErrorCode, problem: string] | undefined;
	stateInWords(): string;
	deadLetter(message: Message, reason: string): void;
	/** Something waits. */
	wake(): void;
}

/** The senders' side of an actor: what comes in, what is turned away, and why. */
export class FrontDoor implements Asked {
	readonly #runtime: Runtime;
	readonly #mailbox: Mailbox;
	readonly #resident: Resident;
	#killers: ClosedDoor | undefined;

	constructor(runtime: Runtime, mailbox: Mailbox, resident: Resident) {
		this.#runtime = runtime;
		this.#mailbox = mailbox;
		this.#resident = resident;
	}

	get identity(): ObjectIdentity {
		return this.#resident.identity;
	}

	stateInWords(): string {
		return this.#resident.stateInWords();
	}

	ask(message: Message, options: AskOptions): Promise<Value> {
		const refusal = this.#refusal(message, this.#mailbox.isFull);
		if (refusal !== undefined) return Promise.reject(refusal);
		const { signal } = options;
		if (signal?.aborted === true)
			return Promise.reject(this.#error("Canceled", `${message.type} was cancelled by its caller`, signal.reason));
		const request = new AskedRequest(message, this.#runtime.nextRequestId(), options, this, this.#runtime.clock);
		this.#mailbox.user.push(request);
		this.#resident.wake();
		return request.promise;
	}

	tell(message: Message): Promise<void> {
		const refusal = this.#refusal(message, this.#mailbox.isFull) ?? this.#refusalOfKiller(message);
		const acknowledge = Promise.withResolvers<void>();
		acknowledge.promise.catch(() => undefined); // ignoring it is safe: whoever must repeat the fact awaits it
		if (refusal !== undefined) acknowledge.reject(refusal);
		else {
			this.#mailbox.user.push({ lane: "fact", message, since: this.#runtime.clock.now(), acknowledge });
			this.#resident.wake();
		}
		return acknowledge.promise;
	}

	/** The actor tells itself. */
	answer(message: Message): void {
		const refusal = this.#refusal(message, this.#mailbox.isFullForAnswers);
		if (refusal !== undefined) {
			if (this.#resident.gone === undefined) this.#resident.deadLetter(message, refusal.problem);
			return;
		}
		this.#mailbox.user.push({ lane: "fact", message, since: this.#runtime.clock.now() });
		this.#resident.wake();
	}

	/** The fact crashed the actor: keeps it out for a while. */
	keepOut(fact: Message): void {
		this.#killers ??= new ClosedDoor(this.#runtime.clock);
		this.#killers.close(fact);
	}

	askerGone(request: AskedRequest, reason: GoneReason): void {
		if (this.#mailbox.open.delete(request.id)) {
			const message = { type: "request.cancelled", request: request.id, reason };
			this.#mailbox.system.push({ lane: "system", message, since: this.#runtime.clock.now() });
			this.#resident.wake();
		} else this.#mailbox.withdraw(request);
	}

	#refusal(message: Message, full: boolean): DaemonError | undefined {
		if (message.type.startsWith("xstate.") || message.type === "*")
			return this.#error("InvalidArgument", `a message may not have the type "${message.type}"`);
		const { gone } = this.#resident;
		if (gone !== undefined) {
			const [code, problem] = gone;
			this.#resident.deadLetter(message, problem);
			return this.#error(code, problem);
		}
		if (!full) return undefined;
		this.#runtime.counters.overflows++;
		return this.#error("ResourceExhausted", `its mailbox is full, ${this.stateInWords()}`);
	}

	#refusalOfKiller(message: Message): DaemonError | undefined {
		const ms = this.#killers?.keepsOut(message) ?? 0;
		if (ms === 0) return undefined;
		const problem = `${message.type} crashed it before; kept out for another ${Math.ceil(ms)} ms`;
		return this.#error("FailedPrecondition", problem);
	}

	#error(code: ErrorCode, problem: string, cause?: unknown): DaemonError {
		return new DaemonError(code, this.identity, problem, cause === undefined ? undefined : { cause });
	}
}
