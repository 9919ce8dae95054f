import { DaemonError } from "../../errors/daemon-error.ts";
import type { GenerateSpecRequest } from "../../gen/troupe/v1/specs.ts";
import type { SpecOptions } from "../../oci/generate-spec.ts";
import { count } from "../wire.ts";

/** The wire's options as the generator takes them. `request` names container and image. */
export function specOptions(
	{ containerId: id, image, options }: GenerateSpecRequest,
	namespace: string,
	cgroupNamespace: boolean,
): SpecOptions {
	const base = { namespace, id, image, cgroupNamespace };
	if (options === undefined) return base;
	const number = (field: string, value: bigint | undefined) =>
		value === undefined ? undefined : count(value, "spec option", field);
	const given = {
		args: options.args.length === 0 ? undefined : options.args,
		entrypoint: options.entrypoint?.values,
		workingDir: options.workingDir,
		user: options.user,
		hostname: options.hostname,
		memoryLimit: number("memory_limit", options.memoryLimit),
		cpus: options.cpus,
		cpuShares: number("cpu_shares", options.cpuShares),
		pidsLimit: number("pids_limit", options.pidsLimit),
		rlimits:
			options.rlimits.length === 0
				? undefined
				: options.rlimits.map(({ type, soft, hard }) => ({
						type: rlimitType(type),
						soft: count(soft, "spec option", "rlimits.soft"),
						hard: count(hard, "spec option", "rlimits.hard"),
					})),
		noNewPrivileges: options.noNewPrivileges,
		cgroupsPath: options.cgroupsPath,
	};
	return {
		...base,
		...present(given),
		env: options.env,
		terminal: options.terminal,
		readonlyRootfs: options.readonlyRootfs,
		mounts: options.mounts.map(({ destination, type, source, options: list }) => ({
			destination,
			type,
			source,
			options: list,
		})),
		cgroupMount: options.cgroupMount,
		addCapabilities: options.addCapabilities,
		dropCapabilities: options.dropCapabilities,
		hostNetwork: options.hostNetwork,
		...(Object.keys(options.annotations).length === 0 ? {} : { annotations: options.annotations }),
	};
}

function rlimitType(type: string): string {
	if (/^RLIMIT_[A-Z]+$/.test(type)) return type;
	throw new DaemonError("InvalidArgument", { kind: "spec option", id: type }, "no rlimit has this name");
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

const present = <T extends object>(fields: T): Present<T> =>
	Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
