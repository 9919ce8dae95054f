import type { Kernel } from "./kernel.ts";
import { addressOf } from "./memory.ts";
import { failedWith } from "./sys-error.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

function socketAddress(path: string): Buffer {
	const address = Buffer.alloc(110); // sockaddr_un: u16 family, 108 bytes of path with its NUL
	if (Buffer.byteLength(path) > 107) throw new RangeError(`path of a unix socket is longer than 107 bytes: ${path}`);
	address.writeUInt16LE(AF_UNIX, 0);
	address.write(path, 2);
	return address;
}

/** A listening socket as a plain descriptor, to be inherited or polled. Throws SysError, EADDRINUSE for an existing file. */
export function listenUnix(kernel: Pick<Kernel, "socket" | "bind" | "listen" | "close">, path: string): number {
	const socket = kernel.socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	try {
		const address = socketAddress(path);
		kernel.bind(socket, address, address.length);
		kernel.listen(socket, 128);
		return socket;
	} catch (reason) {
		kernel.close(socket);
		throw reason;
	}
}

/** Whether a process accepts connections there: a unix socket answers at once. */
export function listens(kernel: Pick<Kernel, "socket" | "connect" | "close">, path: string): boolean {
	try {
		kernel.close(connectUnix(kernel, path));
		return true;
	} catch (reason) {
		if (failedWith(reason, "ECONNREFUSED", "ENOENT")) return false;
		throw reason;
	}
}

/** A connection as a plain, blocking descriptor. */
export function connectUnix(kernel: Pick<Kernel, "socket" | "connect" | "close">, path: string): number {
	const socket = kernel.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	try {
		const address = socketAddress(path);
		kernel.connect(socket, address, address.length);
		return socket;
	} catch (reason) {
		kernel.close(socket);
		throw reason;
	}
}

export function acceptUnix(kernel: Pick<Kernel, "accept4">, listener: number): number {
	return kernel.accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

export interface ReceivedMessage {
	readonly bytes: Buffer;
	/** The descriptor that came with it (close-on-exec). */
	readonly descriptor: number | undefined;
}

/** One message with at most one descriptor. Not node:net: its read drops descriptors without a word. */
export function receiveMessage(kernel: Pick<Kernel, "recvmsg">, socket: number): ReceivedMessage {
	const bytes = Buffer.alloc(4096);
	const control = Buffer.alloc(64);
	const message = messageHeader(bytes, control, control.length);
	const length = kernel.recvmsg(socket, message.header, MSG_CMSG_CLOEXEC);
	const carries =
		message.header.readBigUInt64LE(40) >= 20n &&
		control.readInt32LE(8) === SOL_SOCKET &&
		control.readInt32LE(12) === SCM_RIGHTS;
	return { bytes: bytes.subarray(0, length), descriptor: carries ? control.readInt32LE(16) : undefined };
}

/** Sends bytes and one descriptor, which the receiver gets a copy of. */
export function sendDescriptor(
	kernel: Pick<Kernel, "sendmsg">,
	socket: number,
	bytes: Buffer,
	descriptor: number,
): void {
	const control = Buffer.alloc(24); // CMSG_SPACE(sizeof(int))
	control.writeBigUInt64LE(20n, 0); // CMSG_LEN
	control.writeInt32LE(SOL_SOCKET, 8);
	control.writeInt32LE(SCM_RIGHTS, 12);
	control.writeInt32LE(descriptor, 16);
	const { header } = messageHeader(bytes, control, control.length);
	kernel.sendmsg(socket, header, MSG_NOSIGNAL);
}

/** struct msghdr with one buffer. The parts are returned too: they must live until the call is over. */
function messageHeader(bytes: Buffer, control: Buffer, controlLength: number) {
	const vector = Buffer.alloc(16); // struct iovec
	vector.writeBigUInt64LE(addressOf(bytes), 0);
	vector.writeBigUInt64LE(BigInt(bytes.length), 8);
	const header = Buffer.alloc(56);
	header.writeBigUInt64LE(addressOf(vector), 16);
	header.writeBigUInt64LE(1n, 24);
	header.writeBigUInt64LE(addressOf(control), 32);
	header.writeBigUInt64LE(BigInt(controlLength), 40);
	return { header, vector, bytes, control };
}
