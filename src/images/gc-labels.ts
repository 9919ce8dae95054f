import type { Descriptor } from "../content/descriptor.ts";
import { isConfig, isLayer, isManifest } from "./media-types.ts";

const prefix = "containerd.io/gc.ref.content.";

/** The labels of a parent that keep its children alive: `config`, `m.<n>`, `l.<n>`, else `<n>` (images/mediatypes.go). */
export function childLabels(children: readonly Descriptor[]): Readonly<Record<string, string>> {
	const counts = new Map<string, number>();
	return Object.fromEntries(
		children.map(({ mediaType, digest }) => {
			const key = isConfig(mediaType) ? "config" : isManifest(mediaType) ? "m." : isLayer(mediaType) ? "l." : "";
			const count = counts.get(key) ?? 0;
			counts.set(key, count + 1);
			return [`${prefix}${key}${key === "config" && count === 0 ? "" : count}`, digest];
		}),
	);
}
