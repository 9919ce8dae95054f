/** trouped: the daemon's entry. What the command line means is in arguments.ts, what the daemon is in daemon.ts. */
import { DaemonError } from "../errors/daemon-error.ts";
import { buildVersion } from "../services/version/build-version.ts";
import { type Command, type ConfigurationFlags, parseArguments, usage } from "./arguments.ts";

/** Bytes of an event on stdin at most: what a ttrpc frame holds. */
const eventLimit = 4 << 20;

async function main(args: readonly string[]): Promise<void> {
	const command = parseArguments(args);
	switch (command.name) {
		case "help":
			process.stdout.write(usage);
			return;
		case "version":
			process.stdout.write(`trouped ${[buildVersion.version, buildVersion.revision].filter(Boolean).join(" ")}\n`);
			return;
		case "config default":
		case "config dump":
			return printConfiguration(command.name, command.flags);
		case "publish":
			return publishFromStdin(command);
		case "run": {
			const { runDaemon } = await import("./run-daemon.ts");
			return runDaemon(command.flags);
		}
	}
}

async function printConfiguration(name: "config default" | "config dump", flags: ConfigurationFlags): Promise<void> {
	const { defaultConfiguration, loadConfiguration, writeConfiguration } = await import("./configuration.ts");
	const { daemonPlugins } = await import("./plugins/daemon-plugins.ts");
	const configuration =
		name === "config default" ? defaultConfiguration(daemonPlugins) : await loadConfiguration(flags, daemonPlugins);
	process.stdout.write(writeConfiguration(configuration));
}

async function publishFromStdin({ flags, topic, namespace }: Extract<Command, { name: "publish" }>): Promise<void> {
	const { loadAddress } = await import("./configuration.ts");
	const { publish } = await import("./publish.ts");
	const { buffer } = await import("node:stream/consumers"); // WHATWG streams come with it
	const event = await buffer(process.stdin);
	if (event.length > eventLimit)
		throw new DaemonError("ResourceExhausted", { kind: "event", id: "stdin" }, `more than ${eventLimit} bytes`);
	const address = await loadAddress(flags);
	await publish({ address, namespace, topic, event });
}

main(process.argv.slice(2)).catch((reason: unknown) => {
	// What a DaemonError says is for the one who started us; anything else is a mistake of ours, told with its stack.
	const text = reason instanceof DaemonError ? reason.message : reason instanceof Error ? reason.stack : String(reason);
	process.stderr.write(`trouped: ${text}\n`);
	process.exitCode = 1;
});
