import { createHash, type Hash } from "node:crypto";
import { DaemonError } from "../errors/daemon-error.ts";

/** `<algorithm>:<lower-case hex>`, the identity of a blob (OCI image-spec, descriptor.md, "Digests"). */
export type Digest = string;

/** The registered algorithms and the length of their hex part. */
const hexLength: ReadonlyMap<string, number> = new Map([
	["sha256", 64],
	["sha384", 96],
	["sha512", 128],
]);

export interface DigestParts {
	readonly algorithm: string;
	readonly hex: string;
}

/** Splits a digest, or answers undefined if it is not one. */
export function splitDigest(digest: string): DigestParts | undefined {
	const colon = digest.indexOf(":");
	if (colon < 0) return undefined;
	const algorithm = digest.slice(0, colon);
	const hex = digest.slice(colon + 1);
	return hex.length === hexLength.get(algorithm) && /^[0-9a-f]+$/.test(hex) ? { algorithm, hex } : undefined;
}

/** Splits a digest. Errors: InvalidArgument. Nothing else may become part of a path below the content root. */
export function parseDigest(digest: string): DigestParts {
	const parts = splitDigest(digest);
	if (parts === undefined) throw new DaemonError("InvalidArgument", { kind: "content", id: digest }, "invalid digest");
	return parts;
}

export const isDigest = (digest: string): boolean => splitDigest(digest) !== undefined;

/** The running hash for an algorithm of {@link parseDigest}. */
export const digester = (algorithm: string): Hash => createHash(algorithm);

export const digestOf = (bytes: Uint8Array | string, algorithm = "sha256"): Digest =>
	`${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
