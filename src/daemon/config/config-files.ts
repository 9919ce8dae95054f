import { glob, readFile, realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { Plugin } from "../../plugin/plugin.ts";
import { type ConfigFile, parseConfigFile } from "./config-file.ts";

/** Files at most, all imports together: more is a mistake. */
const fileLimit = 1_000;

/**
 * The file and what it imports, directly or not, in the order in which they count: a later one wins. An importing file comes
 * before what it imports, a glob's files are sorted, and a file that was read already is not read again (so that imports may
 * go round in circles). Errors: those of {@link parseConfigFile}; NotFound for a file that is not there.
 */
export async function readConfigFiles(file: string, plugins: readonly Plugin[] | undefined): Promise<ConfigFile[]> {
	const files: ConfigFile[] = [];
	const seen = new Set<string>();
	const pending = [{ file: resolve(file), missing: undefined as ((reason: unknown) => DaemonError) | undefined }];
	for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
		const { file: name, missing } = next;
		const refuse = missing ?? ((reason: unknown) => DaemonError.from(reason, { kind: "configuration", id: name }));
		let text: string;
		try {
			const real = await realpath(name);
			if (seen.has(real)) continue;
			seen.add(real);
			text = await readFile(real, "utf8");
		} catch (reason) {
			throw refuse(reason);
		}
		const read = parseConfigFile(text, name, plugins);
		files.push(read);
		for (const [index, pattern] of (read.settings.imports ?? []).entries()) {
			const unreadable = (reason: unknown): DaemonError =>
				read.refuse(["imports", index], reason instanceof Error ? reason.message : String(reason));
			for (const found of await matches(resolve(dirname(name), pattern)))
				pending.push({ file: found, missing: unreadable });
		}
		if (files.length + pending.length > fileLimit)
			throw read.refuse(["imports"], `more than ${fileLimit} files are imported`);
	}
	return files;
}

/** A name without wildcards must exist, which its reader will find out; a glob may match nothing. */
async function matches(pattern: string): Promise<readonly string[]> {
	if (!/[*?[]/.test(pattern)) return [pattern];
	const found: string[] = [];
	for await (const name of glob(pattern)) found.push(resolve(name));
	return found.sort();
}
