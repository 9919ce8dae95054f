import type { CheckpointOptions } from "../src/gen/containerd/types/runc/options/oci.ts";

/** A checkpoint as the OCI runtime is asked for it. */
export interface CheckpointCommand {
	/** What the daemon calls it. */
	readonly path: string;
	readonly imagePath: string;
	readonly workPath: string;
	/** Other flags of the runtime's `checkpoint`; runc and crun share them. */
	readonly options: readonly string[];
}

/** The images go to `path` unless the options name another place. */
export function checkpointCommand(path: string, options: CheckpointOptions, workPath: string): CheckpointCommand {
	const flags: readonly (readonly [boolean, string])[] = [
		[!options.exit, "--leave-running"],
		[options.openTcp, "--tcp-established"],
		[options.externalUnixSockets, "--ext-unix-sk"],
		[options.terminal, "--shell-job"],
		[options.fileLocks, "--file-locks"],
	];
	return {
		path,
		imagePath: options.imagePath === "" ? path : options.imagePath,
		workPath: options.workPath === "" ? workPath : options.workPath,
		options: [
			...flags.flatMap(([wanted, flag]) => (wanted ? [flag] : [])),
			...options.emptyNamespaces.flatMap((namespace) => ["--empty-ns", namespace]),
			...(options.cgroupsMode === "" ? [] : ["--manage-cgroups-mode", options.cgroupsMode]),
		],
	};
}
