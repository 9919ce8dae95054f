import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parse, stringify, type TomlTable } from "smol-toml";
import * as z from "zod";
import { DaemonError } from "../errors/daemon-error.ts";
import { type LogLevel, logLevel, logLevels } from "../log/log.ts";
import type { Plugin } from "../plugin/plugin.ts";
import type { ConfigurationFlags } from "./arguments.ts";

/** What a daemon runs with: file, flags over it, defaults below. */
export interface Configuration {
	readonly root: string;
	readonly state: string;
	/** Path of the gRPC socket. */
	readonly address: string;
	readonly logLevel: LogLevel;
	/** URIs of plugins without which the daemon does not start, and of those that are not started. */
	readonly required: readonly string[];
	readonly disabled: readonly string[];
	/** Checked sections, by the plugin's URI; those of every plugin that has settings. */
	readonly configs: ReadonlyMap<string, unknown>;
	/** What was not understood, and is ignored. */
	readonly warnings: readonly string[];
}

const defaultFile = "/etc/troupe/config.toml";

/** The page's own section, which is short because people change it. */
const streamUri = "io.troupe.live.v1.stream";

const fileSchema = z.object({
	version: z.literal([2, 3, 4]).default(3),
	root: z.string().min(1).default("/var/lib/troupe"),
	state: z.string().min(1).default("/run/troupe"),
	required_plugins: z.array(z.string()).default([]),
	disabled_plugins: z.array(z.string()).default([]),
	grpc: z.object({ address: z.string().min(1).default("/run/troupe/troupe.sock") }).prefault({}),
	debug: z.object({ level: z.string().default("info") }).prefault({}),
	stream: z.record(z.string(), z.unknown()).optional(),
	plugins: z.record(z.string(), z.record(z.string(), z.unknown())).default({}),
});

/**
 * Reads the file that the flags name (or the default one, which need not exist), and lets the flags win. InvalidArgument,
 * with file and key, for what cannot be meant; NotFound for a file that was named and is not there.
 */
export async function loadConfiguration(flags: ConfigurationFlags, plugins: readonly Plugin[]): Promise<Configuration> {
	const file = flags.config ?? defaultFile;
	const text = await readFile(file, "utf8").catch((reason: NodeJS.ErrnoException) => {
		if (reason.code === "ENOENT" && flags.config === undefined) return "";
		throw DaemonError.from(reason, { kind: "configuration", id: file });
	});
	return configurationOf(text, file, flags, plugins);
}

/** The configuration of a daemon without file and flags. */
export const defaultConfiguration = (plugins: readonly Plugin[]): Configuration =>
	configurationOf("", "defaults", {}, plugins);

export function configurationOf(
	text: string,
	file: string,
	flags: ConfigurationFlags,
	plugins: readonly Plugin[],
): Configuration {
	const refuse = (problem: string): DaemonError =>
		new DaemonError("InvalidArgument", { kind: "configuration", id: file }, problem);
	const table = parsed(text, refuse);
	const result = fileSchema.safeParse(table);
	if (!result.success) throw refuse(problemsOf(result.error, []));
	const { root, state, grpc, debug, stream, plugins: sections, required_plugins, disabled_plugins } = result.data;
	const level = logLevel(debug.level);
	if (level === undefined) throw refuse(`debug.level: "${debug.level}" is none of ${logLevels.join(", ")}`);

	const given = new Map(Object.entries(sections));
	if (stream !== undefined) given.set(streamUri, { ...given.get(streamUri), ...stream });
	const warnings = unknownKeys(table).map((key) => `${file}: unknown key ${key} is ignored`);
	const known = new Set(plugins.map(({ key }) => key.uri));
	for (const uri of given.keys())
		if (!known.has(uri)) warnings.push(`${file}: section of unknown plugin ${uri} is ignored`);
	const configs = new Map<string, unknown>();
	for (const { key, config, disabled } of plugins) {
		const section = given.get(key.uri);
		if (config === undefined || (disabled && section === undefined)) continue;
		const checked = config.safeParse(section ?? {});
		if (!checked.success) throw refuse(problemsOf(checked.error, ["plugins", key.uri]));
		configs.set(key.uri, checked.data);
	}
	return {
		root: resolve(flags.root ?? root),
		state: resolve(flags.state ?? state),
		address: resolve((flags.address ?? grpc.address).replace(/^unix:\/\//, "")),
		logLevel: flags.logLevel ?? level,
		required: required_plugins,
		disabled: disabled_plugins,
		configs,
		warnings,
	};
}

/** As a file that would make the same configuration. */
export function writeConfiguration({
	root,
	state,
	address,
	logLevel,
	required,
	disabled,
	configs,
}: Configuration): string {
	const table = {
		version: 3,
		root,
		state,
		required_plugins: [...required],
		disabled_plugins: [...disabled],
		grpc: { address },
		debug: { level: logLevel },
		plugins: Object.fromEntries(configs),
	};
	return `${stringify(table)}\n`;
}

function parsed(text: string, refuse: (problem: string) => DaemonError): TomlTable {
	try {
		return parse(text);
	} catch (reason) {
		throw refuse(reason instanceof Error ? reason.message : String(reason));
	}
}

const unknownKeys = (table: TomlTable): string[] =>
	Object.keys(table).filter((key) => !Object.hasOwn(fileSchema.shape, key));

const problemsOf = (error: z.ZodError, below: readonly string[]): string =>
	error.issues.map(({ path, message }) => `${[...below, ...path].join(".")}: ${message}`).join("; ");
