import type { Kernel } from "../sys/kernel.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;

/** What a service manager is told (sd_notify(3)): READY=1, STOPPING=1, STATUS=… */
export type Notify = (state: string) => void;

/**
 * Tells systemd, where it started us (`NOTIFY_SOCKET`); else does nothing. A datagram, so that it neither blocks nor waits.
 * Throws SysError if the socket does not take it.
 */
export const notifier = (
	kernel: Pick<Kernel, "socket" | "connect" | "write" | "close">,
	socketPath: string | undefined,
): Notify => {
	if (socketPath === undefined || socketPath === "") return () => {};
	return (state) => {
		const fd = kernel.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		try {
			const address = unixAddress(socketPath);
			kernel.connect(fd, address, address.length);
			const message = Buffer.from(state);
			kernel.write(fd, message, message.length);
		} finally {
			kernel.close(fd);
		}
	};
};

/** struct sockaddr_un; `@` in front names an abstract socket. */
function unixAddress(path: string): Buffer {
	const abstract = path.startsWith("@");
	const name = Buffer.from(abstract ? `\0${path.slice(1)}` : `${path}\0`);
	const address = Buffer.alloc(2 + name.length);
	address.writeUInt16LE(AF_UNIX);
	name.copy(address, 2);
	return address;
}
