import type { Digest } from "./digest.ts";

/** A pointer to a blob (OCI image-spec, descriptor.md). */
export interface Descriptor {
	readonly mediaType: string;
	readonly digest: Digest;
	/** Bytes. */
	readonly size: number;
	readonly urls?: readonly string[];
	readonly annotations?: Readonly<Record<string, string>>;
	readonly platform?: Platform;
}

/** What a manifest's content runs on (OCI image-spec, image-index.md), in Go's words for OS and architecture. */
export interface Platform {
	readonly os: string;
	readonly architecture: string;
	/** `v7`, `v8` …; empty or absent where the architecture has none. */
	readonly variant?: string | undefined;
	readonly "os.version"?: string | undefined;
}
