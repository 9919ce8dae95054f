import { DaemonError } from "../errors/daemon-error.ts";
import type { Mount } from "../sys/mounts.ts";

/**
 * The directories that the mounts of a snapshot show, the uppermost first. Unimplemented for what is neither an overlay nor
 * a bind mount: its files cannot be seen without mounting it.
 */
export function layerDirectories(mounts: readonly Mount[]): readonly string[] {
	const [mount] = mounts;
	if (mount !== undefined && mounts.length === 1) {
		if (mount.type === "bind" || mount.options.includes("rbind") || mount.options.includes("bind"))
			return [mount.source];
		if (mount.type === "overlay")
			return ["upperdir=", "lowerdir="].flatMap((name) => {
				const option = mount.options.find((text) => text.startsWith(name));
				return option === undefined ? [] : splitPaths(option.slice(name.length));
			});
	}
	const identity = { kind: "mounts", id: mounts.map(({ type }) => type).join("+") };
	throw new DaemonError("Unimplemented", identity, "files can only be read from an overlay or a bind mount");
}

/** Overlayfs separates directories by colons; a backslash takes the next letter as it is. */
const splitPaths = (text: string): string[] =>
	(text.match(/(?:\\.|[^:\\])+/gs) ?? []).map((path) => path.replaceAll(/\\(.)/gs, "$1"));
