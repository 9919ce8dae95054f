import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { entryOf, type Labels, withEntry } from "./labels.ts";

/** Which fields an update replaces: `labels`, `labels.<key>`, `target` …; undefined or empty: the store's own choice. */
export type FieldPaths = readonly string[] | undefined;

/** The key behind `<field>.`, which may hold dots itself. */
export const keyIn = (field: string, path: string): string | undefined =>
	path.startsWith(`${field}.`) ? path.slice(field.length + 1) : undefined;

/** InvalidArgument for a path that may not be updated. */
export const notUpdatable = (path: string, object: ObjectIdentity): DaemonError =>
	new DaemonError("InvalidArgument", object, `cannot update "${path}" field`);

/** Labels after an update that may change nothing else (content, snapshots): all of them, or those that the paths name. */
export function updatedLabels(current: Labels, next: Labels, paths: FieldPaths, object: ObjectIdentity): Labels {
	if (paths === undefined || paths.length === 0) return next;
	let labels = current;
	for (const path of paths) {
		const key = keyIn("labels", path);
		if (key !== undefined) labels = withEntry(labels, key, entryOf(next, key));
		else if (path === "labels") labels = next;
		else throw notUpdatable(path, object);
	}
	return labels;
}
