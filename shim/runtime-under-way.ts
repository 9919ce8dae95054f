import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Kernel } from "../src/sys/kernel.ts";
import { startTimeOf } from "../src/sys/pidfd.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import { pause } from "./time.ts";

/** By then the slowest runtime has ended, or never will. */
const limitMs = 10_000;
const lookAgainMs = 10;

interface Worker {
	readonly pid: number;
	readonly startTime: number;
}

/**
 * A dead shard may have left OCI runtimes at work in these bundles, whose outcome nobody has heard. Waits until they have
 * ended; those that do not are killed. Only then a bundle and the runtime's own state say what is true.
 */
export async function runtimesEnded(kernel: Pick<Kernel, "kill">, bundles: readonly string[]): Promise<void> {
	const until = Date.now() + limitMs;
	let workers = workersIn(bundles);
	for (; workers.length > 0 && Date.now() < until; workers = workers.filter(isThere)) await pauseAwake(lookAgainMs);
	for (const { pid } of workers)
		try {
			kernel.kill(pid, 9);
		} catch (reason) {
			if (!failedWith(reason, "ESRCH")) throw reason;
		}
}

const isThere = ({ pid, startTime }: Worker): boolean => startTimeOf(pid) === startTime;

/** A caller that has nothing else to do must not end meanwhile. */
const pauseAwake = async (ms: number): Promise<void> => {
	const alive = setInterval(() => {}, ms);
	await pause(ms);
	clearInterval(alive);
};

/** Runtimes are known by the log that the shim gives them (see OciRuntime.run). */
export const logPrefix = (bundle: string): string => `${bundle}/.runtime-`;

function workersIn(bundles: readonly string[]): readonly Worker[] {
	const prefixes = bundles.map(logPrefix);
	return readdirSync("/proc").flatMap((name): Worker[] => {
		const pid = Number(name);
		if (!Number.isInteger(pid)) return [];
		const words = commandLine(pid);
		const startTime = startTimeOf(pid);
		const works = words.some((word) => prefixes.some((prefix) => word.startsWith(prefix)));
		return works && startTime !== undefined && !isMade(pid, words) ? [{ pid, startTime }] : [];
	});
}

/** Until it goes on to its program, what crun has made shows crun's own command line: the file with its pid tells. */
function isMade(pid: number, words: readonly string[]): boolean {
	const file = words[words.indexOf("--pid-file") + 1] ?? "";
	return existsSync(file) && Number(readFileSync(file, "utf8")) === pid;
}

function commandLine(pid: number): readonly string[] {
	try {
		return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ESRCH")) return []; // it has ended
		throw reason;
	}
}
