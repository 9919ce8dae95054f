import { parseArgs } from "node:util";
import { DaemonError } from "../errors/daemon-error.ts";
import { type LogLevel, logLevel } from "../log/log.ts";

/** What a caller's flags say over the configuration file; an absent flag says nothing. */
export interface ConfigurationFlags {
	/** Path of the configuration file; an explicit one must exist. */
	readonly config?: string;
	readonly root?: string;
	readonly state?: string;
	readonly address?: string;
	readonly logLevel?: LogLevel;
}

export type Command =
	| { readonly name: "run" | "config default" | "config dump"; readonly flags: ConfigurationFlags }
	| { readonly name: "publish"; readonly flags: ConfigurationFlags; readonly topic: string; readonly namespace: string }
	| { readonly name: "help" | "version" };

export const usage = `trouped: the Troupe container daemon

Usage: trouped [flags]                 run the daemon
       trouped [flags] config default  print the default configuration
       trouped [flags] config dump     print the configuration in force
       trouped [flags] publish --topic TOPIC --namespace NAMESPACE
                                       publish an event; its Any (protobuf) is read from stdin

Flags:
  -c, --config FILE      configuration (default /etc/troupe/config.toml, if it exists)
      --root DIR         persistent data
      --state DIR        data that a reboot may take
  -a, --address SOCKET   gRPC socket; ttrpc listens on SOCKET.ttrpc
  -l, --log-level LEVEL  trace, debug, info, warn, error or fatal
  -v, --version          print the version
  -h, --help             print this text
`;

/** Reads the command line (without the program's name). InvalidArgument, with the flag, for what it cannot mean. */
export function parseArguments(args: readonly string[]): Command {
	const { values, positionals } = parse(args);
	if (values.help) return { name: "help" };
	if (values.version) return { name: "version" };
	const { config, root, state, address, "log-level": level } = values;
	const flags: ConfigurationFlags = {
		...(config === undefined ? {} : { config }),
		...(root === undefined ? {} : { root }),
		...(state === undefined ? {} : { state }),
		...(address === undefined ? {} : { address: address.replace(/^unix:\/\//, "") }),
		...(level === undefined ? {} : { logLevel: levelOf(level) }),
	};
	const command = positionals.join(" ");
	if (command !== "publish" && (values.topic ?? values.namespace) !== undefined)
		throw refusal(`--topic and --namespace belong to publish`);
	switch (command) {
		case "":
			return { name: "run", flags };
		case "config default":
		case "config dump":
			return { name: command, flags };
		case "publish": {
			const { topic, namespace } = values;
			if (topic === undefined || namespace === undefined) throw refusal("publish needs --topic and --namespace");
			return { name: "publish", flags, topic, namespace };
		}
		default:
			throw refusal(`unknown command "${command}"`);
	}
}

function parse(args: readonly string[]) {
	try {
		return parseArgs({
			args: [...args],
			allowPositionals: true,
			options: {
				config: { type: "string", short: "c" },
				root: { type: "string" },
				state: { type: "string" },
				address: { type: "string", short: "a" },
				"log-level": { type: "string", short: "l" },
				topic: { type: "string" },
				namespace: { type: "string" },
				version: { type: "boolean", short: "v" },
				help: { type: "boolean", short: "h" },
			},
		});
	} catch (reason) {
		throw refusal(reason instanceof Error ? reason.message : String(reason));
	}
}

function levelOf(name: string): LogLevel {
	const level = logLevel(name);
	if (level === undefined) throw refusal(`no log level is called "${name}"`);
	return level;
}

const refusal = (problem: string): DaemonError =>
	new DaemonError("InvalidArgument", { kind: "command", id: "trouped" }, problem);
