import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { RuntimeInfo } from "../src/gen/containerd/types/introspection.ts";
import { Any } from "../src/gen/google/protobuf/any.ts";
import { defaultRuntime, findExecutable } from "./oci-runtime.ts";
import { runtimeOptions } from "./runtime-options.ts";
import type { Settings } from "./settings.ts";
import { runtimeName, version } from "./version.ts";

const featuresMs = 10_000;

/**
 * `-info` of containerd 2.x: runtime options (an Any) on standard input, a marshalled RuntimeInfo for standard output. A
 * process of its own that has no containers, so it may use child_process.
 */
export async function info(settings: Settings): Promise<Uint8Array> {
	const input = readFileSync(0);
	const options = input.length === 0 ? undefined : Any.decode(input);
	const name = runtimeOptions(options).binaryName || settings.runtime || defaultRuntime();
	const file = name === undefined ? undefined : findExecutable(name);
	const features = file === undefined ? undefined : await featuresOf(file);
	return RuntimeInfo.encode({
		name: runtimeName,
		version: { version, revision: "" },
		options,
		features,
		annotations: {},
	}).finish();
}

/** Undefined for OCI runtimes that are too old to tell. */
async function featuresOf(file: string): Promise<Any | undefined> {
	try {
		const { stdout } = await promisify(execFile)(file, ["features"], { timeout: featuresMs });
		JSON.parse(stdout);
		return {
			typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/features/Features",
			value: Buffer.from(stdout),
		};
	} catch {
		return undefined; // it has no such command: containerd then assumes nothing
	}
}
