import { DaemonError } from "../../src/errors/daemon-error.ts";
import { BootstrapResult } from "../../src/gen/containerd/runtime/bootstrap/v1/bootstrap.ts";

/** Where a started shim listens. */
export interface BootstrapAnswer {
	/** Version of the task API: 2 or 3. */
	readonly version: number;
	/** `unix:///path` */
	readonly address: string;
}

/**
 * What a shim's `start` printed: JSON, a bare address (then ttrpc, version 2), or a protobuf BootstrapResult; in the order of
 * what cannot be mistaken for the next. An empty answer, a protocol other than ttrpc and a version above 3 are refused with
 * FailedPrecondition (containerd: core/runtime/v2/shim.go).
 */
export function parseBootstrapAnswer(output: Uint8Array, binary: string): BootstrapAnswer {
	const shim = { kind: "shim", id: binary };
	const refuse = (problem: string) => new DaemonError("FailedPrecondition", shim, problem);
	const text = Buffer.from(output).toString("utf8").trim();
	if (text === "") throw refuse("start printed no address");
	const { version, address, protocol } = read(output, text, shim.id);
	if (address === "") throw refuse(`start printed no address: ${text.slice(0, 200)}`);
	if (protocol !== "" && protocol !== "ttrpc") throw refuse(`speaks ${protocol}, not ttrpc`);
	if (version > 3) throw refuse(`speaks version ${version} of the task API; 2 and 3 are known`);
	return { version: version < 3 ? 2 : 3, address };
}

interface Told extends BootstrapAnswer {
	readonly protocol: string;
}

function read(output: Uint8Array, text: string, binary: string): Told {
	if (text.startsWith("{")) {
		try {
			const { version = 2, address = "", protocol = "" } = JSON.parse(text) as Partial<Told>;
			return { version, address, protocol };
		} catch (reason) {
			throw DaemonError.from(reason, { kind: "shim", id: binary }, "FailedPrecondition");
		}
	}
	if (text.startsWith("unix://") || text.startsWith("/")) return { version: 2, address: text, protocol: "" };
	try {
		return BootstrapResult.decode(output);
	} catch (reason) {
		const problem = `start printed what is no address: ${text.slice(0, 200)}`;
		throw new DaemonError("FailedPrecondition", { kind: "shim", id: binary }, problem, { cause: reason });
	}
}
