import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { DaemonError } from "../errors/daemon-error.ts";
import type { Kernel } from "../sys/kernel.ts";
import { failedWith } from "../sys/sys-error.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

export interface HeldDirectory extends AsyncDisposable {
	readonly path: string;
}

/**
 * Makes the directory if need be and keeps other daemons out of it for as long as this process lives (flock(2): the kernel
 * lets go when it dies, however it dies). FailedPrecondition, with the other's pid, if another daemon holds it.
 */
export async function holdDirectory(path: string, mode: number, kernel: Pick<Kernel, "flock">): Promise<HeldDirectory> {
	const identity = { kind: "directory", id: path };
	try {
		await mkdir(path, { recursive: true, mode });
		const file = await open(join(path, "trouped.lock"), "a+", 0o600);
		try {
			kernel.flock(file.fd, LOCK_EX | LOCK_NB);
			await file.truncate(0);
			await file.write(`${process.pid}\n`);
		} catch (reason) {
			const holder = await file.readFile("utf8").catch(() => "");
			await file.close();
			if (!failedWith(reason, "EWOULDBLOCK", "EAGAIN")) throw reason;
			const who = holder.trim() === "" ? "" : ` (pid ${holder.trim()})`;
			throw new DaemonError("FailedPrecondition", identity, `another daemon${who} works here`);
		}
		return { path, [Symbol.asyncDispose]: () => file.close() };
	} catch (reason) {
		throw DaemonError.from(reason, identity);
	}
}
