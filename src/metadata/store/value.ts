import { DaemonError } from "../../errors/daemon-error.ts";
import type { Value } from "./store.ts";

type Composite = readonly Value[] | { readonly [name: string]: Value | undefined };

/** Composites made here: their bytes are private and everything below them is frozen. */
const owned = new WeakSet<object>();

/**
 * A frozen copy of plain data, equal to what a restart would read back: undefined fields are left out, bytes are
 * copied (a slice of a network buffer would hold the whole buffer). Parts of values stored before are shared.
 * InvalidArgument for what is not plain data.
 */
export function stored(value: Value): Value {
	switch (typeof value) {
		case "boolean":
		case "string":
		case "bigint":
			return value;
		case "number":
			if (!Number.isFinite(value)) throw notPlain(value);
			return value === 0 ? 0 : value; // -0 does not survive JSON
		case "object":
			break;
		default:
			throw notPlain(value);
	}
	if (value === null || owned.has(value)) return value;
	const copy = value instanceof Uint8Array ? Uint8Array.prototype.slice.call(value) : Object.freeze(composite(value));
	owned.add(copy);
	return copy;
}

function composite(value: Composite): Composite {
	if (Array.isArray(value)) return value.map(stored);
	const prototype = Object.getPrototypeOf(value);
	if (prototype !== Object.prototype && prototype !== null) throw notPlain(value);
	// fromEntries defines properties: a label called "__proto__" stays a label
	return Object.fromEntries(
		Object.entries(value).flatMap(([name, part]) => (part === undefined ? [] : [[name, stored(part)]])),
	);
}

const notPlain = (value: unknown): DaemonError =>
	new DaemonError(
		"InvalidArgument",
		{ kind: "value", id: typeof value === "object" ? (value?.constructor?.name ?? "object") : String(value) },
		"only plain data can be stored",
	);
