import { snapshotError } from "./snapshot-error.ts";

export type Labels = Readonly<Record<string, string>>;

/** Labels with an empty value are never stored: that is how clients remove one (containerd, boltutil). */
export const withoutEmpty = (labels: Labels): Record<string, string> =>
	Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));

/** Labels after an update. Throws InvalidArgument for a field that cannot change. */
export function updatedLabels(key: string, old: Labels, wanted: Labels, fieldpaths: readonly string[]): Labels {
	if (fieldpaths.length === 0) return withoutEmpty(wanted);
	let labels: Record<string, string> = { ...old };
	for (const path of fieldpaths)
		if (path === "labels") labels = { ...wanted };
		else if (path.startsWith("labels.")) {
			const name = path.slice("labels.".length);
			labels[name] = wanted[name] ?? "";
		} else throw snapshotError("InvalidArgument", key, `cannot update the field ${JSON.stringify(path)}`);
	return withoutEmpty(labels);
}
