import { type PullFact, pullMachine } from "../../machines/pull.machine.ts";
import { type ActorLogic, defineActor } from "../kernel/actor-logic.ts";
import type { RefOf } from "../kernel/child-spec.ts";
import type { Scope } from "../kernel/scope.ts";
import type { PullWork } from "./pull-work.ts";

export type PullRef = RefOf<typeof pullMachine>;

/** The actor of one pull. `workOf` and `ended` are as for {@link file://./layer.actor.ts}. */
export function pullActor(
	workOf: (path: string) => PullWork,
	ended: (path: string, work: PullWork) => void,
): ActorLogic<typeof pullMachine> {
	const sender =
		(scope: Scope) =>
		(fact: PullFact): void =>
			scope.send(fact);
	return defineActor({
		kind: "image",
		machine: pullMachine,
		effects: {
			resolveReference: (_, scope) => {
				const work = workOf(scope.path);
				scope.signal.addEventListener("abort", () => ended(scope.path, work), { once: true });
				work.resolve(sender(scope));
			},
			fetchManifest: (_, scope) => workOf(scope.path).fetchManifest(sender(scope)),
			wantLayers: ({ layers }, scope) => workOf(scope.path).wantLayers(layers, sender(scope)),
			commitSnapshot: ({ index }, scope) => workOf(scope.path).commitSnapshot(index, sender(scope)),
			recordImage: (_, scope) => workOf(scope.path).recordImage(sender(scope)),
			stopWork: (_, scope) => {
				const diskIsFull = scope.context.refusal?.code === "ResourceExhausted";
				workOf(scope.path).stop(sender(scope), diskIsFull);
			},
		},
	});
}
