import { chmod, chown, lstat, mkdir, unlink } from "node:fs/promises";
import { createConnection, createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import { DaemonError } from "../errors/daemon-error.ts";

/** Bytes of a socket's path at most, as in containerd; the kernel takes 107 and clients append `.ttrpc`. */
export const socketPathLimit = 104;

export interface UnixListener {
	readonly path: string;
	/** Takes no more connections and removes the socket; connections that are there live on. */
	close(): Promise<void>;
}

/** Whose a socket is; 0 leaves what the daemon's own user and group are. */
export interface SocketOwner {
	readonly uid: number;
	/** A group that may use the socket as well: its mode is then 0660. */
	readonly gid: number;
}

/**
 * Listens on a unix socket of mode 0600. A socket that a dead daemon left is removed; one that answers means a second
 * daemon: FailedPrecondition. Whatever else is at the path is left alone: FailedPrecondition. An owner that
 * cannot be given the socket: PermissionDenied.
 */
export async function listenUnix(
	path: string,
	onConnection: (socket: Socket) => void,
	owner: SocketOwner = { uid: 0, gid: 0 },
): Promise<UnixListener> {
	checkSocketPath(path);
	await mkdir(dirname(path), { recursive: true, mode: 0o711 });
	await removeStaleSocket(path);
	let open = false;
	const server = createServer((socket) => {
		// Before the mode is set anybody might have got in (under an unusual umask).
		if (open) onConnection(socket);
		else socket.destroy();
	});
	await new Promise<void>((resolve, reject) => {
		server.once("error", (error) => reject(DaemonError.from(error, { kind: "socket", id: path })));
		server.listen({ path }, resolve);
	});
	try {
		await giveTo(owner, path);
	} catch (reason) {
		server.close();
		throw reason;
	}
	open = true;
	return {
		path,
		// libuv unlinks the path when the listener closes, at once; the callback waits for the connections and is not needed.
		close: async () => void server.close(),
	};
}

async function giveTo({ uid, gid }: SocketOwner, path: string): Promise<void> {
	await chmod(path, 0o600);
	if (uid === 0 && gid === 0) return;
	try {
		const own = await lstat(path);
		await chown(path, uid === 0 ? own.uid : uid, gid === 0 ? own.gid : gid);
	} catch (reason) {
		const { code, problem } = DaemonError.from(reason, { kind: "socket", id: path });
		throw new DaemonError(code, { kind: "socket", id: path }, `cannot be given to uid ${uid}, gid ${gid}: ${problem}`, {
			cause: reason,
		});
	}
	if (gid !== 0) await chmod(path, 0o660);
}

/** InvalidArgument for a path that is not absolute or too long to be a socket's. */
export function checkSocketPath(path: string): void {
	const socket = { kind: "socket", id: path };
	if (!path.startsWith("/")) throw new DaemonError("InvalidArgument", socket, "the path must be absolute");
	const length = Buffer.byteLength(path);
	if (length > socketPathLimit)
		throw new DaemonError(
			"InvalidArgument",
			socket,
			`the path has ${length} bytes, a unix socket's path at most ${socketPathLimit}`,
		);
}

/** Removes a socket nobody listens on. FailedPrecondition if somebody does, or if the path is no socket. */
export async function removeStaleSocket(path: string): Promise<void> {
	const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
		if (error.code === "ENOENT") return undefined;
		throw DaemonError.from(error, { kind: "socket", id: path });
	});
	if (stat === undefined) return;
	const socket = { kind: "socket", id: path };
	if (!stat.isSocket())
		throw new DaemonError("FailedPrecondition", socket, "something that is no socket is in the way");
	if (await answers(path))
		throw new DaemonError("FailedPrecondition", socket, "another daemon is listening; is it running already?");
	await unlink(path);
}

/** Whether somebody accepts connections there. A listener that is too busy to accept (EAGAIN) is one all the same. */
const answers = (path: string): Promise<boolean> =>
	new Promise((resolve) => {
		const socket = createConnection({ path });
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", (error: NodeJS.ErrnoException) =>
			resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
		);
	});
