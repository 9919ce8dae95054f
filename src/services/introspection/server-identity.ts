import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { ServerIdentity } from "./introspection.service.ts";

/** Who this daemon is. The uuid is read from `file`, which is made if it is not there. */
export async function serverIdentity(file: string): Promise<ServerIdentity> {
	const { ino } = await stat("/proc/self/ns/pid", { bigint: true });
	return { uuid: await persistentUuid(file), pid: process.pid, pidNamespace: ino };
}

async function persistentUuid(file: string): Promise<string> {
	const known = await readFile(file, "utf8").catch((reason: NodeJS.ErrnoException) => {
		if (reason.code === "ENOENT") return "";
		throw DaemonError.from(reason, { kind: "file", id: file });
	});
	if (known.trim() !== "") return known.trim();
	const uuid = randomUUID();
	await mkdir(dirname(file), { recursive: true, mode: 0o711 });
	await writeFile(`${file}.new`, uuid, { mode: 0o600, flush: true });
	await rename(`${file}.new`, file);
	return uuid;
}
