import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { CheckpointOptions } from "../src/gen/containerd/types/runc/options/oci.ts";
import type { Container } from "./container.ts";

/** Options of the OCI runtime's `checkpoint` (runc and crun share them); the images go to `path`. */
export function checkpointCommand(path: string, options: CheckpointOptions, { bundle }: Container): readonly string[] {
	const imagePath = options.imagePath === "" ? path : options.imagePath;
	const workPath = options.workPath === "" ? join(bundle, "criu") : options.workPath;
	mkdirSync(imagePath, { recursive: true, mode: 0o711 });
	mkdirSync(workPath, { recursive: true, mode: 0o711 });
	const flags: readonly (readonly [boolean, string])[] = [
		[!options.exit, "--leave-running"],
		[options.openTcp, "--tcp-established"],
		[options.externalUnixSockets, "--ext-unix-sk"],
		[options.terminal, "--shell-job"],
		[options.fileLocks, "--file-locks"],
	];
	return [
		"--image-path",
		imagePath,
		"--work-path",
		workPath,
		...flags.flatMap(([wanted, flag]) => (wanted ? [flag] : [])),
		...options.emptyNamespaces.flatMap((namespace) => ["--empty-ns", namespace]),
		...(options.cgroupsMode === "" ? [] : ["--manage-cgroups-mode", options.cgroupsMode]),
	];
}
