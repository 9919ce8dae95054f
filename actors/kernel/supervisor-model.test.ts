import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Restart, type Strategy, supervisorChild } from "./child-spec.ts";
import { familyOf, life } from "./life.test-fixture.ts";

interface Rules {
	readonly strategy: Strategy;
	readonly intensity: number;
	readonly periodMs: number;
	readonly children: readonly Restart[];
}

type Event =
	| { readonly type: "end"; readonly which: number; readonly how: "normal" | "failed"; readonly failedStarts: number }
	| { readonly type: "add"; readonly restart: Restart }
	| { readonly type: "stop"; readonly which: number }
	| { readonly type: "pass"; readonly ms: number };

interface ModelChild {
	readonly id: string;
	readonly restart: Restart;
	readonly dynamic: boolean;
	alive: boolean;
}

/** supervisor.erl on one page, with restarts at once, below a supervisor that restarts it for ever. */
class Model {
	readonly log: string[] = [];
	children: ModelChild[] = [];
	now = 0;
	readonly #rules: Rules;
	readonly #failures = new Map<string, number>();
	#restarts: number[] = [];

	constructor(rules: Rules) {
		this.#rules = rules;
		this.startAll();
	}

	startAll(): void {
		this.#restarts = [];
		this.children = this.#rules.children.map((restart, n) => ({ id: `s${n}`, restart, dynamic: false, alive: false }));
		for (const child of this.children)
			if (!this.#start(child)) {
				this.#stop(this.children);
				this.startAll();
				return;
			}
	}

	end(child: ModelChild, how: "normal" | "failed", failedStarts: number): void {
		if (failedStarts > 0) this.#failures.set(child.id, failedStarts);
		child.alive = false;
		if (child.restart === "permanent" || (child.restart === "transient" && how === "failed")) this.#restart(child);
		else if (child.restart === "temporary" || child.dynamic) this.#forget(child);
		this.#failures.clear();
	}

	add(id: string, restart: Restart): void {
		const child = { id, restart, dynamic: true, alive: false };
		this.children.push(child);
		this.#start(child);
	}

	stop(child: ModelChild): void {
		this.#stop([child]);
		if (child.restart === "temporary" || child.dynamic) this.#forget(child);
	}

	#restart(child: ModelChild): void {
		const { intensity, periodMs, strategy } = this.#rules;
		this.#restarts = [...this.#restarts.filter((at) => this.now - at <= periodMs), this.now];
		if (this.#restarts.length > intensity) {
			this.#stop(this.children);
			this.startAll();
			return;
		}
		if (strategy === "one_for_one") {
			if (!this.#start(child)) this.#restart(child);
			return;
		}
		const from = strategy === "one_for_all" ? 0 : this.children.indexOf(child);
		const others = this.children.slice(from).filter((other) => other !== child);
		this.#stop(others);
		for (const other of others) if (other.restart === "temporary") this.#forget(other);
		for (const member of this.children.slice(from))
			if (!member.alive && !this.#start(member)) {
				this.#restart(member);
				return;
			}
	}

	#start(child: ModelChild): boolean {
		const failures = this.#failures.get(child.id) ?? 0;
		if (failures > 0) this.#failures.set(child.id, failures - 1);
		this.log.push(`${failures > 0 ? "fail" : "start"} ${child.id}`);
		child.alive = failures === 0;
		return child.alive;
	}

	#stop(children: readonly ModelChild[]): void {
		for (const child of [...children].reverse()) {
			if (child.alive) this.log.push(`stop ${child.id}`);
			child.alive = false;
		}
	}

	#forget(child: ModelChild): void {
		this.children = this.children.filter((other) => other !== child);
	}
}

const restart = fc.constantFrom<Restart>("permanent", "transient", "temporary");
const rules = fc.record<Rules>({
	strategy: fc.constantFrom("one_for_one", "one_for_all", "rest_for_one"),
	intensity: fc.integer({ min: 0, max: 4 }),
	periodMs: fc.integer({ min: 1, max: 100 }),
	children: fc.array(restart, { minLength: 1, maxLength: 5 }),
});
const event = fc.oneof<fc.Arbitrary<Event>[]>(
	fc.record({
		type: fc.constant("end"),
		which: fc.nat(),
		how: fc.constantFrom("normal", "failed", "failed"),
		failedStarts: fc.constantFrom(0, 0, 0, 1, 2, 3),
	}),
	fc.record({ type: fc.constant("add"), restart }),
	fc.record({ type: fc.constant("stop"), which: fc.nat() }),
	fc.record({ type: fc.constant("pass"), ms: fc.integer({ min: 1, max: 60 }) }),
);

test("any sequence of failures does what a plain model of OTP's rules does", async () => {
	await fc.assert(
		fc.asyncProperty(rules, fc.array(event, { maxLength: 12 }), async (given, events) => {
			const lives = life();
			const model = new Model(given);
			const atOnce = { firstMs: 0, maxMs: 0 };
			const children = given.children.map((kind, n) => lives.child(`s${n}`, kind));
			const supervisor = { ...given, children, backoff: atOnce };
			const { system, clock } = await familyOf({
				intensity: Number.POSITIVE_INFINITY,
				backoff: atOnce,
				children: [supervisorChild({ id: "sup", supervisor })],
			});
			for (const [n, happens] of events.entries()) {
				const living = model.children.filter(({ alive }) => alive);
				const chosen = "which" in happens ? living[happens.which % living.length] : undefined;
				if (happens.type === "pass") {
					model.now += happens.ms;
					await clock.advance(happens.ms);
				} else if (happens.type === "add") {
					model.add(`d${n}`, happens.restart);
					await system.supervisor("/sup")?.start(lives.child(`d${n}`, happens.restart));
				} else if (chosen === undefined) continue;
				else if (happens.type === "stop") {
					model.stop(chosen);
					await system.supervisor("/sup")?.stop(chosen.id);
				} else {
					if (happens.failedStarts > 0) lives.failures.set(chosen.id, happens.failedStarts);
					model.end(chosen, happens.how, happens.failedStarts);
					lives.end(system, `/sup/${chosen.id}`, happens.how);
					await clock.advance(0);
					lives.failures.clear();
				}
				assert.deepEqual(lives.log, model.log);
				const running = [...system.inspect()].filter((node) => node.node === "actor" && node.status === "running");
				assert.deepEqual(
					running.map(({ path }) => path),
					model.children.filter(({ alive }) => alive).map(({ id }) => `/sup/${id}`),
				);
			}
			await system.stop();
		}),
		{ numRuns: 300 },
	);
});
