import type { AnyStateMachine, EventFromLogic } from "xstate";
import type { KernelFact } from "../../machines/effect.ts";

/** A plain, serialisable object. Requests are imperatives (`start`), facts past tense with their source (`process.exited`). */
export interface Message {
	readonly type: string;
}

type WithoutId<Event> = Event extends { readonly request: string }
	? Event extends { readonly type: KernelFact["type"] }
		? never
		: Omit<Event, "request">
	: never;

type FactAmong<Event> = Event extends { readonly request: string }
	? never
	: Event extends { readonly type: KernelFact["type"] }
		? never
		: Event;

/** What can be asked of the machine: its events with a `request` id, which the kernel adds. */
export type RequestOf<Machine extends AnyStateMachine> = WithoutId<EventFromLogic<Machine>>;

/** What the machine can be told: its other events, without the kernel's own. */
export type FactOf<Machine extends AnyStateMachine> = FactAmong<EventFromLogic<Machine>>;
