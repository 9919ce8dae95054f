import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { failedWith } from "../src/sys/sys-error.ts";
import type { ProcessStatus } from "./process-status.ts";

export interface StdioPaths {
	readonly stdin: string;
	readonly stdout: string;
	readonly stderr: string;
	readonly terminal: boolean;
}

export interface ProcessRecord {
	readonly execId: string;
	readonly stdio: StdioPaths;
	/** 0 until it has been made. */
	readonly pid: number;
	/** proc(5), field 22: with the pid an identity. */
	readonly startTime: number;
	/** What it executed when it was made (executableOf); empty if that is not known. */
	readonly executable: string;
	readonly status: ProcessStatus;
	readonly exit?: { readonly status: number; readonly at: string; readonly unknown: boolean };
}

/** The OCI runtime of a container, fixed at its creation. */
export interface RuntimeRecord {
	readonly file: string;
	readonly root: string;
	readonly systemdCgroup: boolean;
	readonly noPivotRoot: boolean;
	readonly noNewKeyring: boolean;
	/** Owner of the stdio that processes are given; as the client made it if not set. */
	readonly ioOwner?: { readonly uid: number; readonly gid: number };
	/** Where criu works; default: in the bundle. */
	readonly criuWorkPath?: string;
}

/** All that another shim needs to take a container over, without asking anybody. */
export interface ContainerRecord {
	readonly schema: 1;
	readonly id: string;
	readonly namespace: string;
	readonly shard: string;
	readonly runtime: RuntimeRecord;
	/** The container has a pid namespace of its own: its end is the end of all its processes. */
	readonly ownPidNamespace: boolean;
	readonly cgroup: Readonly<Record<string, string>>;
	readonly oomKills: number;
	/** Directory of a checkpoint to start from; empty for none. */
	readonly checkpoint: string;
	readonly init: ProcessRecord;
	readonly execs: readonly ProcessRecord[];
}

const file = "shim.json";

/** Where the record lies: as long as it does, something of the container may be left. */
export const recordPath = (bundle: string): string => join(bundle, file);

/**
 * Replaces the bundle's record in one step, and answers with the name of this writing (writingOf). Not synced: it must outlive
 * the shim, not the machine.
 */
export function writeRecord(bundle: string, record: ContainerRecord): string | undefined {
	const next = join(bundle, `.${file}`);
	writeFileSync(next, JSON.stringify(record), { mode: 0o600 });
	const writing = writingOfFile(next);
	renameSync(next, recordPath(bundle));
	return writing;
}

/** Names one writing of the bundle's record: what another process writes there has another name. Undefined if there is none. */
export const writingOf = (bundle: string): string | undefined => writingOfFile(recordPath(bundle));

function writingOfFile(path: string): string | undefined {
	const found = statSync(path, { bigint: true, throwIfNoEntry: false });
	return found && `${found.ino} ${found.mtimeNs}`;
}

/** Undefined if the bundle has none. Throws SyntaxError for a broken one. */
export function readRecord(bundle: string): ContainerRecord | undefined {
	try {
		return JSON.parse(readFileSync(recordPath(bundle), "utf8")) as ContainerRecord;
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ENOTDIR")) return undefined;
		throw reason;
	}
}

export const removeRecord = (bundle: string): void => rmSync(recordPath(bundle), { force: true });
