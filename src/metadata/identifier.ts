import { DaemonError } from "../errors/daemon-error.ts";

/** Characters at most (containerd: identifiers/validate.go). */
export const identifierLimit = 76;
const pattern = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;

/**
 * Returns `value` if it is an identifier: runs of letters and digits joined by single `.`, `_` or `-`, 1 to 76 characters;
 * else InvalidArgument. The rule for namespaces, container ids, exec ids, runtime and snapshotter names (not for image names
 * and snapshot keys).
 */
export function identifier(kind: string, value: string): string {
	if (value === "") throw new DaemonError("InvalidArgument", { kind, id: value }, "identifier must not be empty");
	if (value.length > identifierLimit)
		throw new DaemonError(
			"InvalidArgument",
			{ kind, id: value.slice(0, identifierLimit) },
			`identifier greater than maximum length (${identifierLimit} characters)`,
		);
	if (!pattern.test(value))
		throw new DaemonError("InvalidArgument", { kind, id: value }, `identifier must match ${pattern.source}`);
	return value;
}
