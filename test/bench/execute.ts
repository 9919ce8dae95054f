import { spawn } from "node:child_process";

/** A program ended with a code other than 0. */
export class CommandLineError extends Error {
	override readonly name = "CommandLineError";
}

/**
 * Runs a program to its exit. Waits for the process, not for its pipes: a container may keep them open. Output is
 * discarded; with `capture` the standard output is returned.
 */
export function execute(
	program: string,
	args: readonly string[],
	options: { capture?: boolean } = {},
): Promise<string> {
	return new Promise((resolve, reject) => {
		const child = spawn(program, args, { stdio: ["ignore", options.capture === true ? "pipe" : "ignore", "pipe"] });
		let output = "";
		let errors = "";
		child.stdout?.on("data", (chunk: Buffer) => {
			output += chunk;
		});
		child.stderr?.on("data", (chunk: Buffer) => {
			if (errors.length < 10_000) errors += chunk;
		});
		child.once("error", reject);
		child.once(options.capture === true ? "close" : "exit", (code, signal) => {
			child.stderr?.destroy();
			if (code === 0) resolve(output);
			else reject(new CommandLineError(`${program} ${args.join(" ")}: ${signal ?? `exit ${code}`}: ${errors.trim()}`));
		});
	});
}
