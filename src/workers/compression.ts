/** How a layer is compressed, by its first bytes: media types lie, magic numbers do not (as containerd does). */
export type Compression = "none" | "gzip" | "zstd";

/** What is recognised but not unpacked. */
export type ForeignCompression = "xz" | "bzip2" | "lz4";

const magic: readonly (readonly [name: Compression | ForeignCompression, bytes: readonly number[]])[] = [
	["gzip", [0x1f, 0x8b, 0x08]],
	["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
	["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
	["bzip2", [0x42, 0x5a, 0x68]],
	["lz4", [0x04, 0x22, 0x4d, 0x18]],
];

/** Bytes that {@link compressionOf} wants to see. */
export const magicSize = 6;

export function compressionOf(start: Uint8Array): Compression | ForeignCompression {
	for (const [name, bytes] of magic) if (bytes.every((byte, index) => start[index] === byte)) return name;
	// A zstd skippable frame: 0x184D2A50 to 0x184D2A5F, little endian.
	if (start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18 && ((start[0] ?? 0) & 0xf0) === 0x50) return "zstd";
	return "none";
}
