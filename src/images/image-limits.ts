/** Bytes of the largest index or manifest that is taken from a registry (containerd, `MaxManifestSize`). */
export const largestManifest = 4 * 1048 * 1048;

/** Bytes of the largest image configuration that is read into memory. */
export const largestConfig = 8 << 20;
