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
 * A dead shard may have left OCI runtimes at work in these bundles, whose outcome nobody has heard. For each bundle a wait
 * until they have ended; those that do not are killed. Only then the bundle and the runtime's own state say what is true.
 */
export function runtimesEnded(
	kernel: Pick<Kernel, "kill">,
	bundles: readonly string[],
): ReadonlyMap<string, Promise<void>> {
	const workers = workersIn(bundles);
	return new Map(bundles.map((bundle) => [bundle, ended(kernel, workers.get(bundle) ?? [])]));
}

async function ended(kernel: Pick<Kernel, "kill">, found: readonly Worker[]): Promise<void> {
	const until = Date.now() + limitMs;
	let workers = found;
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

/** By bundle. */
function workersIn(bundles: readonly string[]): ReadonlyMap<string, readonly Worker[]> {
	const found = new Map<string, Worker[]>(bundles.map((bundle) => [bundle, []]));
	for (const name of readdirSync("/proc")) {
		const pid = Number(name);
		if (!Number.isInteger(pid)) continue;
		const words = commandLine(pid);
		const bundle = bundles.find((path) => words.some((word) => word.startsWith(logPrefix(path))));
		const startTime = startTimeOf(pid);
		if (bundle === undefined || startTime === undefined || isMade(pid, words)) continue;
		found.get(bundle)?.push({ pid, startTime });
	}
	return found;
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
