import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BootstrapParams } from "../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";
import { Any } from "../src/gen/google/protobuf/any.ts";
import { StandbyDefinition } from "../src/gen/troupe/shim/v1/shim.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import type { Arguments } from "./arguments.ts";
import { connectToStandby } from "./ensure-standby.ts";
import { runtimeOptions } from "./runtime-options.ts";
import type { Places, Settings } from "./settings.ts";
import { groupInCgroup } from "./shim-cgroup.ts";

const startMs = 10_000;

/**
 * The shim's start contract (containerd, runtime/v2/README.md): with the bundle as working directory, prints the address
 * of the shim that will serve the container, and nothing else. The answer is plain text for containerd 1.x, JSON for
 * newer ones (they set MAX_SHIM_VERSION); version 3 only for callers that send bootstrap parameters, because 1.7
 * refuses it.
 */
export async function start(
	kernel: Kernel,
	{ id, namespace, address, debug }: Arguments,
	places: Places,
	settings: Settings,
	bundle: string,
): Promise<string> {
	const input = readStandardInput();
	const parameters = bootstrapParameters(input);
	const { shimCgroup } = runtimeOptions(parameters === undefined ? asAny(input) : optionsOf(parameters));
	const client = await connectToStandby(kernel, places, standbyWords(address, debug));
	try {
		const shard = await client.service(StandbyDefinition).startShard(
			{
				namespace,
				group: groupInCgroup(groupOf(settings, id, bundle), shimCgroup),
				containerId: id,
				shardSize: settings.shardSize,
				fresh: false,
			},
			{ timeoutMs: startMs },
		);
		const version = parameters === undefined ? 2 : 3;
		if (process.env.MAX_SHIM_VERSION === undefined && version === 2) {
			writeFileSync(join(bundle, "address"), shard.address, { mode: 0o600 }); // 1.x reads it after a restart
			return shard.address;
		}
		return JSON.stringify({ version, address: shard.address, protocol: "ttrpc" });
	} finally {
		client.close();
	}
}

export const standbyWords = (address: string, debug: boolean): readonly string[] => [
	"-address",
	address,
	...(debug ? ["-debug"] : []),
];

/** Empty: the namespace's common shards. A pod is known by the annotations of containerd's own shim and of the CRI. */
function groupOf({ grouping }: Settings, id: string, bundle: string): string {
	if (grouping === "shard") return "";
	if (grouping === "container") return id;
	const { annotations = {} } = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8")) as {
		annotations?: Record<string, string>;
	};
	return annotations["io.containerd.runc.v2.group"] ?? annotations["io.kubernetes.cri.sandbox-id"] ?? id;
}

/** 2.2 and later send BootstrapParams; older ones the runtime options as an Any, whose first field is a URL. */
function bootstrapParameters(input: Uint8Array): BootstrapParams | undefined {
	try {
		const parameters = BootstrapParams.decode(input);
		const { instanceId, containerdGrpcAddress, containerdTtrpcAddress } = parameters;
		return instanceId !== "" && (containerdGrpcAddress !== "" || containerdTtrpcAddress !== "")
			? parameters
			: undefined;
	} catch {
		return undefined; // not this message: an older daemon
	}
}

const optionsOf = ({ extensions }: BootstrapParams): Any | undefined =>
	extensions.map(({ value }) => value).find((value) => value?.typeUrl.endsWith("containerd.runc.v1.Options"));

function asAny(input: Uint8Array): Any | undefined {
	try {
		return Any.decode(input);
	} catch {
		return undefined; // whatever it is, options of ours it is not
	}
}

function readStandardInput(): Uint8Array {
	try {
		return readFileSync(0);
	} catch {
		return new Uint8Array(0); // closed, or a terminal: nobody has sent parameters
	}
}
