import type { Kernel } from "../src/sys/kernel.ts";
import { spawn } from "../src/sys/spawn.ts";
import type { Reaper } from "./reaper.ts";
import { within } from "./time.ts";

export interface ProgramContext {
	readonly kernel: Kernel;
	readonly reaper: Reaper;
	/** Descriptor of /dev/null. */
	readonly nothing: number;
	readonly environment: readonly string[];
	readonly openFiles?: number;
}

export interface Program {
	readonly file: string;
	readonly args: readonly string[];
	/** Its stdin, stdout and stderr. */
	readonly descriptors: readonly number[];
	readonly directory: string;
	/** Milliseconds until it is killed. */
	readonly timeoutMs: number;
}

/** Runs a short-lived program to its end: its exit status, or undefined if it had to be killed. */
export async function runProgram(context: ProgramContext, program: Program): Promise<number | undefined> {
	const { kernel, reaper, environment, openFiles } = context;
	const { file, args, descriptors, directory, timeoutMs } = program;
	const pid = spawn(kernel, {
		...{ file, args, environment, descriptors, directory },
		...(openFiles === undefined ? {} : { openFiles }),
	});
	const ended = reaper.exitOf(pid);
	const exit = await within(timeoutMs, ended);
	if (exit !== undefined) return exit.status;
	kernel.kill(pid, 9);
	await ended;
	return undefined;
}
