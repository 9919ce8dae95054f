import { readFile } from "node:fs/promises";
import { type ContainerRecord, recordPath } from "../../shim/container-record.ts";
import type { ProcessIdentityOnHost } from "../task-manager/witness.ts";

/**
 * Who a process of a container is, by the record that our own shims keep in the bundle. Undefined for those of other shims,
 * and for one that was not made yet.
 */
export async function processOnHost(bundle: string, execId: string): Promise<ProcessIdentityOnHost | undefined> {
	let record: ContainerRecord;
	try {
		record = JSON.parse(await readFile(recordPath(bundle), "utf8")) as ContainerRecord;
	} catch {
		return undefined; // no record, or none that can be read: the shim that adopts the container complains
	}
	const found = execId === "" ? record.init : record.execs.find((exec) => exec.execId === execId);
	return found === undefined || found.pid === 0 ? undefined : { pid: found.pid, startTime: found.startTime };
}
