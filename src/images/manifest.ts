import * as z from "zod";
import type { Descriptor, Platform } from "../content/descriptor.ts";
import { digestOf, isDigest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import { isIndex, isManifest, isSchema1 } from "./media-types.ts";

const mostChildren = 4096;

const platformSchema = z
	.object({
		os: z.string(),
		architecture: z.string(),
		variant: z.string().optional(),
		"os.version": z.string().optional(),
	})
	.transform((platform): Platform => platform);
const descriptorSchema = z
	.object({
		mediaType: z.string(),
		digest: z.string().refine(isDigest, "not a digest"),
		size: z.number().int().nonnegative(),
		urls: z.array(z.string()).optional(),
		annotations: z.record(z.string(), z.string()).optional(),
		platform: platformSchema.optional(),
	})
	.transform(
		({ mediaType, digest, size, urls, annotations, platform }): Descriptor => ({
			mediaType,
			digest,
			size,
			...(urls === undefined ? {} : { urls }),
			...(annotations === undefined ? {} : { annotations }),
			...(platform === undefined ? {} : { platform }),
		}),
	);

const indexSchema = z.object({ manifests: z.array(descriptorSchema).max(mostChildren) });
const manifestSchema = z.object({ config: descriptorSchema, layers: z.array(descriptorSchema).max(mostChildren) });
const configSchema = z.object({
	rootfs: z.object({ diff_ids: z.array(z.string().refine(isDigest, "not a digest")).max(mostChildren) }),
});

/** A list of manifests (OCI image-spec, image-index.md; Docker's manifest list). */
export interface ImageIndex {
	readonly manifests: readonly Descriptor[];
}

/** One image (OCI image-spec, manifest.md; Docker's schema 2). */
export interface ImageManifest {
	readonly config: Descriptor;
	readonly layers: readonly Descriptor[];
}

/**
 * Reads what a descriptor of an index or manifest points to. Errors: InvalidArgument (not what the media type says, or
 * both an index and a manifest: CVE-2021-41190), Unimplemented (schema 1, and types that are no image).
 */
export function parseManifest(
	descriptor: Descriptor,
	bytes: Uint8Array,
): { readonly index: ImageIndex } | { readonly manifest: ImageManifest } {
	const { mediaType } = descriptor;
	const value = parseJson(descriptor, bytes);
	if (isSchema1(mediaType) || value.schemaVersion === 1)
		throw refuse(
			descriptor,
			"Unimplemented",
			"Docker schema 1 is not supported; push the image again with a current client",
		);
	if (!isIndex(mediaType) && !isManifest(mediaType))
		throw refuse(descriptor, "Unimplemented", `media type ${JSON.stringify(mediaType)} is no image`);
	if (value.mediaType !== undefined && value.mediaType !== mediaType)
		throw refuse(descriptor, "InvalidArgument", `says of itself that it is ${JSON.stringify(value.mediaType)}`);
	if (isIndex(mediaType)) {
		if ("config" in value || "layers" in value || "fsLayers" in value)
			throw refuse(descriptor, "InvalidArgument", "an index that holds a manifest");
		return { index: checked(descriptor, indexSchema.safeParse(value)) };
	}
	if ("manifests" in value || "fsLayers" in value)
		throw refuse(descriptor, "InvalidArgument", "a manifest that holds an index");
	return { manifest: checked(descriptor, manifestSchema.safeParse(value)) };
}

/** The digests of an image's uncompressed layers, bottom first (OCI image-spec, config.md). Errors: InvalidArgument. */
export function parseDiffIds(descriptor: Descriptor, bytes: Uint8Array): readonly string[] {
	return checked(descriptor, configSchema.safeParse(parseJson(descriptor, bytes))).rootfs.diff_ids;
}

/** The names of a stack's snapshots (OCI image-spec, config.md, "Layer ChainID"). */
export function chainIds(diffIds: readonly string[]): readonly string[] {
	const chain: string[] = [];
	for (const diffId of diffIds) {
		const below = chain.at(-1);
		chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
	}
	return chain;
}

function parseJson(descriptor: Descriptor, bytes: Uint8Array): Readonly<Record<string, unknown>> {
	try {
		const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
		if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
	} catch (reason) {
		throw refuse(descriptor, "InvalidArgument", reason instanceof Error ? reason.message : String(reason));
	}
	throw refuse(descriptor, "InvalidArgument", "not a JSON object");
}

function checked<T>(descriptor: Descriptor, result: z.ZodSafeParseResult<T>): T {
	if (result.success) return result.data;
	const [issue] = result.error.issues;
	throw refuse(descriptor, "InvalidArgument", `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "invalid"}`);
}

const refuse = (descriptor: Descriptor, code: "InvalidArgument" | "Unimplemented", problem: string): DaemonError =>
	new DaemonError(code, { kind: "manifest", id: descriptor.digest }, problem);
