import { readFileSync } from "node:fs";
import type { Kernel } from "./kernel.ts";

const MADV_DONTNEED = 4;

/**
 * The pages of program and library files in this process. Most of them only a start or a burst runs; unmapped, they stay
 * in the page cache, and what is called comes back sixteen pages at a time, without I/O.
 */
export class FilePages {
	readonly #kernel: Pick<Kernel, "madvise">;
	readonly #mappings: ReadonlySet<string>;

	/** Make it when all libraries are loaded. */
	constructor(kernel: Pick<Kernel, "madvise">) {
		this.#kernel = kernel;
		this.#mappings = new Set(unwrittenFileMappings(readFileSync("/proc/self/smaps", "latin1")));
	}

	release(): void {
		// Read anew each time: a library that was unloaded may have made room for memory that is nowhere else.
		for (const line of readFileSync("/proc/self/maps", "latin1").split("\n")) {
			if (!this.#mappings.has(line)) continue;
			const [from = "", to = ""] = line.slice(0, line.indexOf(" ")).split("-");
			const address = BigInt(`0x${from}`);
			this.#kernel.madvise(address, Number(BigInt(`0x${to}`) - address), MADV_DONTNEED);
		}
	}
}

/**
 * From the text of /proc/PID/smaps (proc(5)): the lines, as they are in maps too, of read-only mappings of files in which
 * the process has no page of its own. The loader has written relocations into others; those are nowhere else.
 */
export function unwrittenFileMappings(smaps: string): string[] {
	const found: string[] = [];
	let mapping: string | undefined;
	for (const line of smaps.split("\n"))
		if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) mapping = /^\S+ r-.p \S+ \S+ \d+ +\//.test(line) ? line : undefined;
		else if (mapping !== undefined && /^Anonymous: +0 kB$/.test(line)) found.push(Buffer.from(mapping).toString()); // a copy: a slice would keep the whole text
	return found;
}
