import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nativeKernel } from "../../sys/native-kernel.ts";

/** Where root's FIFOs live, beside the daemon's own; other users' in their temporary directory. */
const rootDirectory = "/run/troupe/fifo";

/**
 * The FIFOs between this process and a container. Each is opened for reading and for writing at once: our writer keeps
 * the reader from seeing an end of file before the shim has opened its side.
 */
export class Fifos {
	readonly #directory: string;
	readonly #keepers: number[] = [];
	/** Paths for the task's stdio; empty for what it shall not have. */
	readonly paths: { readonly stdin: string; readonly stdout: string; readonly stderr: string };
	/** Descriptors of our ends. */
	readonly stdin: number | undefined;
	readonly stdout: number;
	readonly stderr: number | undefined;

	/** Makes them. A terminal has one output. */
	constructor(id: string, { stdin, terminal }: { readonly stdin: boolean; readonly terminal: boolean }) {
		const parent = process.getuid?.() === 0 ? rootDirectory : tmpdir();
		mkdirSync(parent, { recursive: true, mode: 0o711 });
		this.#directory = mkdtempSync(join(parent, `${id}-`));
		const path = (name: string): string => join(this.#directory, name);
		this.paths = {
			stdin: stdin ? path("stdin") : "",
			stdout: path("stdout"),
			stderr: terminal ? "" : path("stderr"),
		};
		try {
			this.stdout = this.#make(this.paths.stdout, constants.O_RDONLY);
			this.stderr = terminal ? undefined : this.#make(this.paths.stderr, constants.O_RDONLY);
			this.stdin = stdin ? this.#make(this.paths.stdin, constants.O_WRONLY) : undefined;
		} catch (error) {
			this.remove();
			throw error;
		}
	}

	#make(path: string, access: number): number {
		nativeKernel.mkfifo(path, 0o600);
		this.#keepers.push(openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
		return openSync(path, access | constants.O_NONBLOCK);
	}

	/** The shim has opened its ends: from here on its closing is the end of file. */
	letGo(): void {
		for (const keeper of this.#keepers.splice(0)) closeSync(keeper);
	}

	/** Removes the paths; open descriptors live on. */
	remove(): void {
		this.letGo();
		rmSync(this.#directory, { recursive: true, force: true });
	}
}
