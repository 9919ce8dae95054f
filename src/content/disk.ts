import { open, readFile, rm } from "node:fs/promises";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";

/** Bytes read or hashed in one turn: large enough for the disk, small enough for the event loop. */
export const chunkBytes = 1 << 20;

export const errnoOf = (reason: unknown): string | undefined =>
	reason instanceof Error ? (reason as NodeJS.ErrnoException).code : undefined;

/** A full disk or quota, and a file above the limit of the file system or process. */
export const isDiskFull = (reason: unknown): boolean => ["ENOSPC", "EDQUOT", "EFBIG"].includes(errnoOf(reason) ?? "");

/** What the disk refused, as an error about `object`. */
export const diskError = (reason: unknown, object: ObjectIdentity): DaemonError =>
	isDiskFull(reason)
		? new DaemonError("ResourceExhausted", object, "no space left on device", { cause: reason })
		: DaemonError.from(reason, object);

/** Makes the entries of a directory durable (fsync(2): a file's own fsync does not cover its name). */
export async function syncDirectory(path: string): Promise<void> {
	const handle = await open(path, "r");
	try {
		await handle.sync();
	} finally {
		await handle.close();
	}
}

/** The text of a small file; undefined if there is none. */
export async function readText(path: string): Promise<string | undefined> {
	try {
		return await readFile(path, "utf8");
	} catch (reason) {
		if (errnoOf(reason) === "ENOENT") return undefined;
		throw reason;
	}
}

export const removeTree = (path: string): Promise<void> => rm(path, { recursive: true, force: true });
