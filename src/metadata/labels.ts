import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";

export type Labels = Readonly<Record<string, string>>;

/** Bytes of key and value together (containerd: pkg/labels/validate.go). */
export const labelLimit = 4096;
const keyShown = 64;

/**
 * The labels as they are stored: empty values are left out, that is how clients remove one. InvalidArgument for a label
 * that is too long.
 */
export function checkedLabels(labels: Labels, object: ObjectIdentity): Labels {
	const kept = Object.entries(labels).filter(([key, value]) => {
		const length = Buffer.byteLength(key) + Buffer.byteLength(value);
		if (length > labelLimit)
			throw new DaemonError(
				"InvalidArgument",
				object,
				`label key and value length (${length} bytes) greater than maximum size (${labelLimit} bytes), ` +
					`key: ${key.slice(0, keyShown)}`,
			);
		return value !== "";
	});
	return Object.fromEntries(kept);
}

/** One entry replaced; a label named "__proto__" stays a label. */
export const withEntry = <T>(
	map: Readonly<Record<string, T>>,
	key: string,
	value: T | undefined,
): Readonly<Record<string, T>> => {
	const entries = Object.entries(map).filter(([name]) => name !== key);
	return Object.fromEntries(value === undefined ? entries : [...entries, [key, value]]);
};

/** What a map holds under a key that a client chose. */
export const entryOf = <T>(map: Readonly<Record<string, T>>, key: string): T | undefined =>
	Object.hasOwn(map, key) ? map[key] : undefined;
