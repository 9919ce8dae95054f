import { Options } from "../src/gen/containerd/types/runc/options/oci.ts";
import type { Any } from "../src/gen/google/protobuf/any.ts";

/** containerd.runc.v1.Options; those of other runtimes have no meaning here. */
export function runtimeOptions(options: Any | undefined): Options {
	const isRunc = options !== undefined && /(^|\/)containerd\.runc\.v1\.Options$/.test(options.typeUrl);
	return Options.decode(isRunc ? options.value : new Uint8Array(0));
}
