import type { Value } from "../../src/metadata/store/store.ts";

/** Whether two state values name the same state. */
export function sameState(one: Value, other: Value): boolean {
	if (one === other) return true;
	if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
	const left = one as { readonly [name: string]: Value };
	const right = other as { readonly [name: string]: Value };
	const names = Object.keys(left);
	return (
		names.length === Object.keys(right).length &&
		names.every((name) => name in right && sameState(left[name] as Value, right[name] as Value))
	);
}

/** `running`, or `{"network":"up","rootfs":"mounted"}` for parallel states. */
export const stateInWords = (state: Value): string =>
	typeof state === "string" ? `"${state}"` : JSON.stringify(state);
