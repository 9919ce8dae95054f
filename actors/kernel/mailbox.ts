import type { AskedRequest } from "./ask.ts";
import type { Deadline } from "./deadlines.ts";
import type { WaitingMessage } from "./inspection.ts";
import { Lane } from "./lane.ts";
import type { Message } from "./message.ts";

export interface FactEnvelope {
	readonly lane: "fact";
	readonly message: Message;
	readonly since: number;
	/** Absent for the actor's answers to itself. */
	readonly acknowledge?: PromiseWithResolvers<void>;
}

export interface DeadlineEnvelope {
	readonly lane: "deadline";
	readonly message: Message;
	readonly since: number;
	readonly deadline: Deadline;
}

/** A message of the kernel itself: `restored`, `request.cancelled`. */
export interface SystemEnvelope {
	readonly lane: "system";
	readonly message: Message;
	readonly since: number;
}

export type UserEnvelope = AskedRequest | FactEnvelope | DeadlineEnvelope;
export type Envelope = UserEnvelope | SystemEnvelope;

/** What waits for one actor: two bounded lanes, the held requests, and the requests that were taken but not answered. */
export class Mailbox {
	readonly capacity: number;
	readonly stashCapacity: number;
	/** Bounded by construction: one `restored`, and one message per open request. */
	readonly system = new Lane<SystemEnvelope>();
	readonly user = new Lane<UserEnvelope>();
	readonly open = new Map<string, AskedRequest>();
	#stash: AskedRequest[] = [];

	constructor(capacity: number, stashCapacity: number) {
		this.capacity = capacity;
		this.stashCapacity = stashCapacity;
	}

	get isFull(): boolean {
		return this.user.length >= this.capacity;
	}

	/** An actor's answers to itself have the same room again. */
	get isFullForAnswers(): boolean {
		return this.user.length >= this.capacity * 2;
	}

	get isEmpty(): boolean {
		return this.user.length === 0 && this.system.length === 0;
	}

	get stash(): readonly AskedRequest[] {
		return this.#stash;
	}

	next(): Envelope | undefined {
		return this.system.shift() ?? this.user.shift();
	}

	putBack(envelope: Envelope): void {
		if (envelope.lane === "system") this.system.prepend([envelope]);
		else this.user.prepend([envelope]);
	}

	/** False if the stash is full. */
	hold(request: AskedRequest): boolean {
		if (this.#stash.length >= this.stashCapacity) return false;
		this.#stash.push(request);
		return true;
	}

	/** The held requests go first, in order. */
	release(): void {
		if (this.#stash.length === 0) return;
		this.user.prepend(this.#stash);
		this.#stash = [];
	}

	/** Takes a request out that the actor has not taken. */
	withdraw(request: AskedRequest): boolean {
		const index = this.#stash.indexOf(request);
		if (index >= 0) this.#stash.splice(index, 1);
		return index >= 0 || this.user.remove(request);
	}

	/** Takes everything out that nobody has taken, and tells whoever waits for it. */
	refuseWaiting(error: Error, refused: (message: Message) => void): void {
		this.release();
		this.system.drain();
		for (const envelope of this.user.drain()) {
			if (envelope.lane === "deadline") continue;
			refused(envelope.message);
			if (envelope.lane === "request") envelope.refuse(error);
			else envelope.acknowledge?.reject(error);
		}
	}

	/** Refuses the requests that were taken and not answered. */
	refuseOpen(errorFor: (request: AskedRequest) => Error): void {
		const requests = [...this.open.values()];
		this.open.clear();
		for (const request of requests) request.refuse(errorFor(request));
	}

	/** A request whose answer is known; false if nobody waits for it any more. */
	settle(id: string, settle: (request: AskedRequest) => void): boolean {
		const request = this.open.get(id);
		if (request === undefined) return false;
		this.open.delete(id);
		settle(request);
		return true;
	}

	inspect() {
		return {
			mailbox: { system: this.system.length, user: this.user.length, capacity: this.capacity },
			stashed: this.#stash.length,
			openRequests: this.open.size,
		};
	}

	waiting(): readonly WaitingMessage[] {
		const describe =
			(lane: WaitingMessage["lane"]) =>
			(envelope: Envelope): WaitingMessage => ({
				lane,
				type: envelope.message.type,
				since: envelope.since,
				...(envelope.lane === "request" ? { due: envelope.due } : {}),
			});
		return [
			...this.system.items().map(describe("system")),
			...this.user.items().map(describe("user")),
			...this.#stash.map(describe("stash")),
			...[...this.open.values()].map(describe("open")),
		];
	}
}
