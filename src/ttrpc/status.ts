import { DaemonError, describe, type ObjectIdentity } from "../errors/daemon-error.ts";
import { errorCodeOf, grpcStatus } from "../errors/error-code.ts";
import type { Status } from "../gen/google/rpc/status.ts";

/** What an error says on the wire. */
export function statusOf(error: DaemonError): Status {
	return { code: grpcStatus[error.code], message: error.message, details: [] };
}

/**
 * The error behind a status of the wire, or undefined for OK. `object` is what the call was about; a peer that named it
 * too (ours does) is not quoted twice.
 */
export function errorOf(status: Status | undefined, object: ObjectIdentity): DaemonError | undefined {
	if (status === undefined || status.code === 0) return undefined;
	const prefix = `${describe(object)}: `;
	const problem = status.message.startsWith(prefix) ? status.message.slice(prefix.length) : status.message;
	return new DaemonError(errorCodeOf(status.code), object, problem === "" ? "refused without a message" : problem);
}
