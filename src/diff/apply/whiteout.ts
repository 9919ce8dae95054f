/** How "this path of a lower layer is gone" is told to overlayfs (kernel docs, filesystems/overlayfs, "whiteouts"). */
export type WhiteoutForm =
	/** Character device 0/0, opaque directories by `trusted.overlay.opaque`. */
	| "overlay"
	/** The same with `user.overlay.opaque`, for mounts with `userxattr` (user namespaces). */
	| "overlay-userxattr"
	/** Left out: nothing is below an image's first layer. */
	| "dropped";

/** Marks of the image format (OCI image spec, layer.md, "Whiteouts"). */
export const whiteoutPrefix = ".wh.";
export const opaqueMark = ".wh..wh..opq";
/** Left over from aufs (`.wh..wh.plnk`, `.wh..wh.aufs`): never part of a tree. */
export const aufsPrefix = ".wh..wh.";

/** The attribute that makes a directory opaque; undefined where nothing is to be hidden. */
export const opaqueAttribute = (form: WhiteoutForm): string | undefined =>
	({ overlay: "trusted.overlay.opaque", "overlay-userxattr": "user.overlay.opaque", dropped: undefined })[form];
