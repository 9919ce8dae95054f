import type { Order } from "./actor-logic.ts";
import type { Clock } from "./clock.ts";

export interface Deadline {
	readonly name: string;
	/** Milliseconds since 1970. */
	readonly due: number;
}

/** Deadlines after a step, by name. */
export type DeadlinePlan = ReadonlyMap<string, Deadline>;

const none: DeadlinePlan = new Map();

/** The named deadlines of one actor. Their due times are in its record. */
export class Deadlines {
	readonly #clock: Clock;
	readonly #passed: (deadline: Deadline) => void;
	readonly #timers = new Map<Deadline, () => void>();
	#current: DeadlinePlan = none;

	constructor(clock: Clock, passed: (deadline: Deadline) => void) {
		this.#clock = clock;
		this.#passed = passed;
	}

	get current(): DeadlinePlan {
		return this.#current;
	}

	/** Whether it is neither cleared nor set anew. */
	stands(deadline: Deadline): boolean {
		return this.#current.get(deadline.name) === deadline;
	}

	/** The deadlines after a step that took `passed` and ordered `orders`; the same object if none changes. */
	plan(orders: readonly Order[], passed: Deadline | undefined): DeadlinePlan {
		let plan: Map<string, Deadline> | undefined;
		if (passed !== undefined) {
			plan = new Map(this.#current);
			plan.delete(passed.name);
		}
		for (const { type, params } of orders) {
			if (type === "setDeadline") {
				const { name, ms } = params as { readonly name: string; readonly ms: number };
				plan ??= new Map(this.#current);
				plan.set(name, { name, due: this.#clock.now() + ms });
			} else if (type === "clearDeadline") {
				const { name } = params as { readonly name: string };
				if (!(plan ?? this.#current).has(name)) continue;
				plan ??= new Map(this.#current);
				plan.delete(name);
			}
		}
		return plan ?? this.#current;
	}

	apply(plan: DeadlinePlan): void {
		if (plan === this.#current) return;
		this.#current = plan;
		for (const [deadline, cancel] of this.#timers) {
			if (this.stands(deadline)) continue;
			cancel();
			this.#timers.delete(deadline);
		}
		for (const deadline of plan.values()) if (!this.#timers.has(deadline)) this.#arm(deadline);
	}

	disarm(): void {
		this.apply(none);
	}

	#arm(deadline: Deadline): void {
		const cancel = this.#clock.after(Math.max(0, deadline.due - this.#clock.now()), () => this.#passed(deadline));
		// stays in the table after it fired, until the step that takes it: it is not armed twice
		this.#timers.set(deadline, cancel);
	}
}
