import { resolve } from "node:path";

/** The directory of Troupe's programs: beside dist/ where this is part of a bundle, else in the source tree. */
const directory = resolve(import.meta.dirname, import.meta.url.endsWith(".ts") ? "../../bin" : "../bin");

/** Paths of the programs that belong to this daemon. Other shims are looked for beside them, too. */
export const programs = {
	daemon: resolve(directory, "trouped"),
	shim: resolve(directory, "containerd-shim-troupe-v2"),
} as const;
