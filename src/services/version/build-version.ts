import type { BuildVersion } from "./version.service.ts";

/** Set by the build (scripts/build.ts); undefined in the source tree. */
declare const TROUPE_REVISION: string | undefined;

/** This build. A test holds the version against package.json. */
export const buildVersion: BuildVersion = {
	version: "0.1.0",
	revision: typeof TROUPE_REVISION === "undefined" ? "" : TROUPE_REVISION,
};
