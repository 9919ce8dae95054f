import { assign, setup } from "xstate";
import { effect } from "../../machines/effect.ts";
import { defineActor } from "./actor-logic.ts";
import { type ActorChildSpec, child, type Restart, type Shutdown, type SupervisorSpec } from "./child-spec.ts";
import { type ManualClock, manualClock } from "./kernel.test-fixture.ts";
import { type System, startSystem } from "./system.ts";

/** What happened to the children of a supervisor, in order: `start a`, `fail a` (a start that failed), `stop a`. */
export interface Life {
	readonly log: string[];
	/** Starts of a child that are still to fail. */
	readonly failures: Map<string, number>;
	child(id: string, restart?: Restart, shutdown?: Shutdown): ActorChildSpec;
	/** Lets a child end by itself. */
	end(system: System, path: string, how: "normal" | "failed"): void;
	/** When set, a child with this id takes for ever to stop. */
	readonly stubborn: Set<string>;
}

export function life(): Life {
	const log: string[] = [];
	const failures = new Map<string, number>();
	const stubborn = new Set<string>();
	let messages = 0;
	const machine = setup({
		types: {
			input: {} as { id: string },
			context: {} as { id: string },
			events: {} as { type: "life.failed"; n: number } | { type: "life.ended" },
		},
		actions: {
			begin: effect<{ id: string }>(),
			fail: assign(() => {
				throw new Error("boom");
			}),
		},
	}).createMachine({
		context: ({ input: { id } }) => {
			const left = failures.get(id) ?? 0;
			if (left > 0) {
				failures.set(id, left - 1);
				log.push(`fail ${id}`);
				throw new Error("no start");
			}
			return { id };
		},
		initial: "living",
		entry: { type: "begin", params: ({ context }) => ({ id: context.id }) },
		states: {
			living: { on: { "life.failed": { actions: "fail" }, "life.ended": "ended" } },
			ended: { type: "final" },
		},
	});
	const logic = defineActor({
		kind: "life",
		machine,
		effects: { begin: ({ id }) => void log.push(`start ${id}`) },
		terminate: (scope) => {
			log.push(`stop ${scope.context.id}`);
			return stubborn.has(scope.context.id) ? new Promise<void>(() => undefined) : undefined;
		},
	});
	return {
		log,
		failures,
		stubborn,
		child: (id, restart = "permanent", shutdown = 5_000) => child({ id, logic, input: { id }, restart, shutdown }),
		end(system, path, how) {
			messages++;
			const message = how === "normal" ? { type: "life.ended" } : { type: "life.failed", n: messages };
			void system.find(path)?.tell(message);
		},
	};
}

/** A supervisor of `life` children at the root, in time that stands still. */
export async function familyOf(
	spec: Partial<SupervisorSpec> & Pick<SupervisorSpec, "children">,
): Promise<{ readonly system: System; readonly clock: ManualClock }> {
	const clock = manualClock();
	const root = { strategy: "one_for_one" as const, ...spec };
	return { clock, system: await startSystem({ clock, random: () => 0, root }) };
}
