import { type LayerFact, layerMachine } from "../../machines/layer.machine.ts";
import { type ActorLogic, defineActor } from "../kernel/actor-logic.ts";
import type { RefOf } from "../kernel/child-spec.ts";
import type { Scope } from "../kernel/scope.ts";
import type { LayerWork } from "./layer-work.ts";

export type LayerRef = RefOf<typeof layerMachine>;

/**
 * The actor of one layer. `workOf` finds the work that was made for the actor at a path before it was started; `ended`
 * hears when the actor is over.
 */
export function layerActor(
	workOf: (path: string) => LayerWork,
	ended: (path: string, work: LayerWork) => void,
): ActorLogic<typeof layerMachine> {
	const sender =
		(scope: Scope) =>
		(fact: LayerFact): void =>
			scope.send(fact);
	return defineActor({
		kind: "layer",
		machine: layerMachine,
		effects: {
			lookForLayer: (_, scope) => {
				const work = workOf(scope.path);
				scope.signal.addEventListener("abort", () => ended(scope.path, work), { once: true });
				work.look(sender(scope));
			},
			fetchBlob: (_, scope) => workOf(scope.path).fetch(sender(scope)),
			unpackBlob: (_, scope) => workOf(scope.path).unpack(sender(scope)),
			abandonDownload: (_, scope) => workOf(scope.path).abandon(),
			stopWork: (_, scope) => workOf(scope.path).stop(sender(scope)),
		},
	});
}
