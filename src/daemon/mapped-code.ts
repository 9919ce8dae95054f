import { readFile } from "node:fs/promises";

export interface MemoryRange {
	readonly address: bigint;
	/** Bytes. */
	readonly length: number;
}

/**
 * Where the machine code of a loaded library is in this process; `name` is the end of its path. Only read-only, executable
 * mappings: what the loader has written into the others (relocations) is nowhere else.
 */
export async function mappedCode(name: string): Promise<MemoryRange[]> {
	return codeRanges(await readFile("/proc/self/maps", "utf8"), name);
}

/** The same from the text of /proc/PID/maps (proc(5)). */
export function codeRanges(maps: string, name: string): MemoryRange[] {
	const found: MemoryRange[] = [];
	for (const line of maps.split("\n")) {
		const [, from, to, path] = /^([0-9a-f]+)-([0-9a-f]+) r-xp \S+ \S+ \d+ +(\/.*)$/.exec(line) ?? [];
		if (path?.endsWith(name) !== true) continue;
		const address = BigInt(`0x${from}`);
		found.push({ address, length: Number(BigInt(`0x${to}`) - address) });
	}
	return found;
}
