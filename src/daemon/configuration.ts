import { resolve } from "node:path";
import { stringify } from "smol-toml";
import { DaemonError } from "../errors/daemon-error.ts";
import type { LogLevel } from "../log/log.ts";
import type { Plugin } from "../plugin/plugin.ts";
import type { ConfigurationFlags } from "./arguments.ts";
import type { ConfigFile } from "./config/config-file.ts";
import { readConfigFiles } from "./config/config-files.ts";
import { type FileSettings, streamUri } from "./config/file-settings.ts";
import type { SocketOwner } from "./unix-listener.ts";

/** What a daemon runs with: files, flags over them, defaults below. */
export interface Configuration {
	readonly root: string;
	readonly state: string;
	/** Path of the gRPC socket. */
	readonly address: string;
	readonly owner: SocketOwner;
	readonly logLevel: LogLevel;
	/** -1000 to 1000; 0 leaves the score that the daemon was started with. */
	readonly oomScore: number;
	/** URIs of plugins without which the daemon does not start, and of those that are not started. */
	readonly required: readonly string[];
	readonly disabled: readonly string[];
	/** Checked sections, by the plugin's URI; those of every plugin that has settings. */
	readonly configs: ReadonlyMap<string, unknown>;
}

const defaultFile = "/etc/troupe/config.toml";
const defaults = { root: "/var/lib/troupe", state: "/run/troupe", address: "/run/troupe/troupe.sock" } as const;

/**
 * Reads the file that the flags name (or the default one, which need not exist) with its imports, and lets the flags win.
 * InvalidArgument, with file, line and key, for what cannot be meant: nothing is ignored. NotFound for a file that was named
 * and is not there.
 */
export async function loadConfiguration(flags: ConfigurationFlags, plugins: readonly Plugin[]): Promise<Configuration> {
	return configurationOf(await filesOf(flags, plugins), flags, plugins);
}

/** The configuration of a daemon without files and flags. */
export const defaultConfiguration = (plugins: readonly Plugin[]): Configuration => configurationOf([], {}, plugins);

/** Only where the daemon listens: the sections of plugins, which take longer to know, are not looked at. */
export async function loadAddress(flags: ConfigurationFlags): Promise<string> {
	if (flags.address !== undefined) return addressOf(flags.address);
	return configurationOf(await filesOf(flags, undefined), flags, []).address;
}

/** As a file that would make the same configuration. */
export function writeConfiguration(configuration: Configuration): string {
	const { root, state, address, owner, logLevel, oomScore, required, disabled, configs } = configuration;
	const plugins = new Map(configs);
	const stream = plugins.get(streamUri);
	plugins.delete(streamUri);
	const table = {
		version: 3,
		root,
		state,
		oom_score: oomScore,
		required_plugins: [...required],
		disabled_plugins: [...disabled],
		grpc: { address, ...owner },
		debug: { level: logLevel },
		...(stream === undefined ? {} : { stream }),
		plugins: Object.fromEntries(plugins),
	};
	return `${stringify(table).trimEnd()}\n`;
}

async function filesOf(flags: ConfigurationFlags, plugins: readonly Plugin[] | undefined): Promise<ConfigFile[]> {
	const file = flags.config ?? defaultFile;
	try {
		return await readConfigFiles(file, plugins);
	} catch (reason) {
		const absent = reason instanceof DaemonError && reason.code === "NotFound" && reason.object.id === defaultFile;
		if (flags.config === undefined && absent) return [];
		throw reason;
	}
}

/** A later file wins by key, its lists are appended, and its section of a plugin replaces the whole one (as containerd's). */
function configurationOf(
	files: readonly ConfigFile[],
	flags: ConfigurationFlags,
	plugins: readonly Plugin[],
): Configuration {
	const last = <T>(of: (settings: FileSettings) => T | undefined): T | undefined =>
		files.reduce<T | undefined>((before, { settings }) => of(settings) ?? before, undefined);
	const disabled = files.flatMap(({ settings }) => settings.disabled_plugins ?? []);
	for (const { settings, refuse } of files)
		for (const [index, uri] of (settings.required_plugins ?? []).entries())
			if (disabled.includes(uri)) throw refuse(["required_plugins", index], `${uri} is in disabled_plugins, too`);
	const sections = new Map(files.flatMap((file) => [...file.sections]));
	const configs = new Map<string, unknown>();
	for (const { key, config, disabled: offByDefault } of plugins) {
		const section = sections.get(key.uri);
		if (config !== undefined ? !offByDefault || section !== undefined : offByDefault && section !== undefined)
			configs.set(key.uri, config?.parse(section ?? {}) ?? {});
	}
	return {
		root: resolve(flags.root ?? last(({ root }) => root) ?? defaults.root),
		state: resolve(flags.state ?? last(({ state }) => state) ?? defaults.state),
		address: addressOf(flags.address ?? last(({ grpc }) => grpc?.address) ?? defaults.address),
		owner: { uid: last(({ grpc }) => grpc?.uid) ?? 0, gid: last(({ grpc }) => grpc?.gid) ?? 0 },
		logLevel: flags.logLevel ?? last(({ debug }) => debug?.level) ?? "info",
		oomScore: last(({ oom_score: score }) => score) ?? 0,
		required: files.flatMap(({ settings }) => settings.required_plugins ?? []),
		disabled,
		configs,
	};
}

const addressOf = (address: string): string => resolve(address.replace(/^unix:\/\//, ""));
