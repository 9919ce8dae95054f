import type { Descriptor } from "../../content/descriptor.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { largestConfig, largestManifest } from "../../images/image-limits.ts";
import { chainIds, parseManifest } from "../../images/manifest.ts";
import { formatPlatform, hostPlatform, pickPlatform } from "../../images/platform.ts";
import { type ImageConfig, parseImageConfig } from "../../oci/image-config.ts";

/** Reads a blob of the caller's namespace. NotFound; ResourceExhausted above `limit` bytes. */
export type ReadBlob = (digest: string, limit: number) => Promise<Uint8Array>;

export interface ImageForSpec {
	readonly config: ImageConfig;
	/** Name of the top snapshot; empty for an image without layers. */
	readonly chainId: string;
}

/** An index in an index in an index is a mistake or an attack. */
const indexDepth = 4;

/**
 * The config of the image that this host would run. Errors: NotFound (a blob, or nothing for this platform),
 * InvalidArgument (what it points to is no image).
 */
export async function imageForSpec(name: string, target: Descriptor, readBlob: ReadBlob): Promise<ImageForSpec> {
	let descriptor = target;
	for (let depth = 0; depth < indexDepth; depth += 1) {
		const found = parseManifest(descriptor, await readBlob(descriptor.digest, largestManifest));
		if ("manifest" in found) {
			const config = parseImageConfig(await readBlob(found.manifest.config.digest, largestConfig), name);
			return { config, chainId: chainIds(config.diffIds).at(-1) ?? "" };
		}
		const wanted = hostPlatform();
		const picked = pickPlatform(found.index.manifests, wanted);
		if (picked === undefined)
			throw new DaemonError("NotFound", { kind: "image", id: name }, `has nothing for ${formatPlatform(wanted)}`);
		descriptor = picked;
	}
	throw new DaemonError("InvalidArgument", { kind: "image", id: name }, "its indexes are nested too deep");
}
