import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../../content/disk.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { type HostEntry, parseHostsFile } from "./hosts-file.ts";
import { allCapabilities } from "./registry-host.ts";

/** Where containerd and Docker look by default. */
export const defaultHostDirectories: readonly string[] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];

export interface HostDirectory {
	readonly path: string;
	readonly entries: readonly HostEntry[];
	/** Why the directory's hosts.toml was set aside for its certificate files, as containerd does with a broken one. */
	readonly problem?: DaemonError;
}

/**
 * The directory that configures `registry`, from the first of `roots` that has one; undefined if none has.
 * `docker.io:5000` is looked for as `docker.io_5000_`, `docker.io:5000`, then `_default` (containerd docs/hosts.md).
 */
export async function loadHostDirectory(
	roots: readonly string[],
	registry: string,
): Promise<HostDirectory | undefined> {
	for (const root of roots)
		for (const name of directoryNames(registry)) {
			const path = join(root, name);
			if (await isThere(path)) return await loadDirectory(path);
		}
	return undefined;
}

export function directoryNames(registry: string): readonly string[] {
	const colon = registry.lastIndexOf(":");
	const underscored = colon > 0 ? [`${registry.slice(0, colon)}_${registry.slice(colon + 1)}_`] : [];
	return [...underscored, registry, "_default"];
}

async function loadDirectory(path: string): Promise<HostDirectory> {
	const text = await readFile(join(path, "hosts.toml"), "utf8").catch(emptyIfMissing);
	if (text === "") return { path, entries: [await loadCertificates(path)] };
	try {
		return { path, entries: parseHostsFile(text, path) };
	} catch (reason) {
		const problem = DaemonError.from(reason, { kind: "registry configuration", id: path });
		return { path, entries: [await loadCertificates(path)], problem };
	}
}

/** Docker's layout: `*.crt` are trusted, `*.cert` are ours, with the key in `*.key` or in the same file. */
async function loadCertificates(path: string): Promise<HostEntry> {
	const items = await readdir(path, { withFileTypes: true });
	const files = items
		.filter((item) => !item.isDirectory())
		.map(({ name }) => name)
		.toSorted();
	const keys = new Set(files.filter((name) => name.endsWith(".key")));
	return {
		capabilities: allCapabilities,
		header: {},
		tls: {
			ca: files.filter((name) => name.endsWith(".crt")).map((name) => join(path, name)),
			client: files
				.filter((name) => name.endsWith(".cert"))
				.map((cert) => {
					const key = `${cert.slice(0, -".cert".length)}.key`;
					return keys.has(key) ? [join(path, cert), join(path, key)] : [join(path, cert)];
				}),
		},
	};
}

async function isThere(path: string): Promise<boolean> {
	try {
		await stat(path);
		return true;
	} catch (reason) {
		if (errnoOf(reason) === "ENOENT" || errnoOf(reason) === "ENOTDIR") return false;
		throw reason;
	}
}

function emptyIfMissing(reason: unknown): string {
	if (errnoOf(reason) === "ENOENT") return "";
	throw reason;
}
