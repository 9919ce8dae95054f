import { DaemonError } from "../errors/daemon-error.ts";

/** sockaddr_un holds 108 bytes with the NUL (unix(7)). */
const longestPath = 107;

/**
 * The file of a unix socket: `unix:///path` or a plain path. Throws InvalidArgument for a path that the kernel would cut
 * and for other schemes.
 */
export function socketPath(address: string): string {
	const path = address.startsWith("unix://") ? address.slice("unix://".length) : address;
	const refuse = (problem: string) =>
		new DaemonError("InvalidArgument", { kind: "ttrpc address", id: address }, problem);
	if (!path.startsWith("/")) throw refuse("only unix sockets with an absolute path");
	if (Buffer.byteLength(path) > longestPath) throw refuse(`path of a unix socket longer than ${longestPath} bytes`);
	return path;
}
