import { closeSync, mkdirSync, openSync, rmSync } from "node:fs";
import { DaemonError } from "../src/errors/daemon-error.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { spawn } from "../src/sys/spawn.ts";
import { listenUnix } from "../src/sys/unix-socket.ts";
import { connect, type TtrpcClient } from "../src/ttrpc/client.ts";
import type { Places } from "./settings.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const connectMs = 2_000;
const lockMs = 10_000;

/** How a shim process runs itself again: node, its flags, this file. */
export const ownCommand = (): { readonly file: string; readonly args: readonly string[] } => ({
	file: process.execPath,
	args: [...process.execArgv, process.argv[1] ?? ""],
});

/** Connects to the standby, or starts it first. Several starters may try at once: one starts it, all connect. */
export async function connectToStandby(kernel: Kernel, places: Places, words: readonly string[]): Promise<TtrpcClient> {
	const running = await tryConnect(places);
	if (running !== undefined) return running;
	mkdirSync(places.state, { recursive: true, mode: 0o711 });
	mkdirSync(places.sockets, { recursive: true, mode: 0o711 });
	const lock = openSync(places.lock, "w", 0o600);
	try {
		await takeLock(kernel, lock);
		const started = await tryConnect(places); // by the one who had the lock before us
		if (started !== undefined) return started;
		startStandby(kernel, places, words);
		return await connect(places.standbySocket, { timeoutMs: connectMs });
	} finally {
		closeSync(lock);
	}
}

export async function tryConnect(places: Places): Promise<TtrpcClient | undefined> {
	try {
		return await connect(places.standbySocket, { timeoutMs: connectMs });
	} catch (reason) {
		if (reason instanceof DaemonError && reason.code === "Unavailable") return undefined;
		throw reason;
	}
}

/** The socket listens before the process runs, and it is nobody's but the standby's: if that dies, connecting fails. */
function startStandby(kernel: Kernel, places: Places, words: readonly string[]): void {
	rmSync(places.standbySocket, { force: true });
	const { file, args } = ownCommand();
	const listener = listenUnix(kernel, places.standbySocket);
	const nothing = openSync("/dev/null", "r+");
	const log = openSync(places.log, "a", 0o600);
	try {
		spawn(kernel, {
			file,
			args: [...args, ...words, "standby-process"],
			environment: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
			// Not the starter's own stdout and stderr: the daemon reads those to their end.
			descriptors: [nothing, log, log, listener],
			directory: "/",
		});
	} finally {
		kernel.close(listener);
		closeSync(nothing);
		closeSync(log);
	}
}

async function takeLock(kernel: Kernel, lock: number): Promise<void> {
	for (const until = Date.now() + lockMs; ; )
		try {
			kernel.flock(lock, LOCK_EX | LOCK_NB);
			return;
		} catch (reason) {
			if (Date.now() > until) throw DaemonError.from(reason, { kind: "standby", id: "lock" }, "DeadlineExceeded");
			await new Promise((resolve) => setTimeout(resolve, 10));
		}
}
