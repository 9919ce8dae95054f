/**
 * The media types of images: OCI (image-spec, media-types.md) and Docker schema 2 (distribution, image-manifest-v2-2).
 */
export const mediaTypes = {
	ociIndex: "application/vnd.oci.image.index.v1+json",
	ociManifest: "application/vnd.oci.image.manifest.v1+json",
	ociConfig: "application/vnd.oci.image.config.v1+json",
	ociLayer: "application/vnd.oci.image.layer.v1.tar",
	dockerList: "application/vnd.docker.distribution.manifest.list.v2+json",
	dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
	dockerConfig: "application/vnd.docker.container.image.v1+json",
	dockerLayer: "application/vnd.docker.image.rootfs.diff.tar",
	dockerForeignLayer: "application/vnd.docker.image.rootfs.foreign.diff.tar",
	dockerSchema1: "application/vnd.docker.distribution.manifest.v1+prettyjws",
	dockerSchema1Unsigned: "application/vnd.docker.distribution.manifest.v1+json",
} as const;

/** What a client accepts when it asks for a manifest by tag, in containerd's order. */
export const manifestAccept = [
	mediaTypes.dockerManifest,
	mediaTypes.dockerList,
	mediaTypes.ociManifest,
	mediaTypes.ociIndex,
	"*/*",
].join(", ");

export const isIndex = (mediaType: string): boolean =>
	mediaType === mediaTypes.ociIndex || mediaType === mediaTypes.dockerList;

export const isManifest = (mediaType: string): boolean =>
	mediaType === mediaTypes.ociManifest || mediaType === mediaTypes.dockerManifest;

export const isConfig = (mediaType: string): boolean =>
	mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig;

/** Old registries send schema 1 as text/plain (registry.access.redhat.com, 2019). */
export const isSchema1 = (mediaType: string): boolean =>
	mediaType === mediaTypes.dockerSchema1 ||
	mediaType === mediaTypes.dockerSchema1Unsigned ||
	mediaType === "text/plain";

/** A file system layer, whatever its compression; `+encrypted` ones are layers that nobody here can read. */
export const isLayer = (mediaType: string): boolean =>
	/^application\/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(foreign\.)?diff\.tar)([.+]|$)/.test(
		mediaType,
	);

export const isEncrypted = (mediaType: string): boolean => mediaType.endsWith("+encrypted");

/** The first word of an ingest's ref, by which clients tell what is being fetched (remotes/handlers.go, MakeRefKey). */
export function ingestPrefix(mediaType: string): "manifest" | "index" | "layer" | "config" | "unknown" {
	if (isManifest(mediaType)) return "manifest";
	if (isIndex(mediaType)) return "index";
	if (isLayer(mediaType)) return "layer";
	return isConfig(mediaType) ? "config" : "unknown";
}
