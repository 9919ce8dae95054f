import { Command, CommanderError, Option } from "commander";
import { clientVersion } from "./client-version.ts";
import { brokenPipe, ExitWith, exitCodes, failure } from "./failure.ts";
import { defaultAddress, type Target } from "./target.ts";

/** Begins a command: usage and summary. */
type Declare = (usage: string, summary: string) => Command;

const collect = (value: string, all: readonly string[]): readonly string[] => [...all, value];
const list = (flags: string, summary: string): Option =>
	new Option(flags, summary).argParser(collect).default([], "none");

/** What each command takes, and where its code is: loaded when it is called. */
const commands: Readonly<Record<string, (command: Declare) => Command>> = {
	pull: (command) =>
		command("pull <image>", "fetch and unpack an image")
			.option("--plain-http", "do not use TLS")
			.option("-u, --user <name[:password]>", "credentials for the registry; the password may come on standard input")
			.option("--hosts-dir <dir>", "registry configuration (hosts.toml files)")
			.option("--platform <platform>", "os/architecture[/variant] to fetch instead of this machine's")
			.option("--snapshotter <name>", "snapshotter to unpack into", "")
			.option("-q, --quiet", "no progress")
			.action(async (image, options, self) =>
				(await import("./commands/pull.ts")).pull(targetOf(self), image, options),
			),
	images: (command) =>
		command("images", "list images")
			.option("-q, --quiet", "names only")
			.action(async (options, self) => (await import("./commands/images.ts")).images(targetOf(self), options)),
	rmi: (command) =>
		command("rmi <image...>", "remove images").action(async (names, _options, self) =>
			(await import("./commands/rmi.ts")).rmi(targetOf(self), names),
		),
	run: (command) =>
		command("run <image> [command...]", "run a command in a new container")
			.passThroughOptions()
			.option("--rm", "remove the container when it has ended")
			.option("-d, --detach", "print the id and leave")
			.option("-i, --interactive", "pass standard input on")
			.option("-t, --tty", "give it a terminal (with standard input)")
			.option("--name <id>", "container id (default: a random one)")
			.addOption(list("-e, --env <NAME=value>", "environment; NAME alone removes"))
			.addOption(list("-l, --label <name=value>", "label of the container"))
			.addOption(list("--mount <mount>", "type=bind,src=/tmp,dst=/host,options=rbind:ro"))
			.addOption(list("--volume <source:destination[:ro]>", "bind mount, docker's form"))
			.option("-m, --memory <size>", "memory limit, such as 64m")
			.option("--cpus <number>", "CPUs' worth of time, such as 1.5")
			.option("--pids-limit <number>", "processes at most")
			.option("-u, --user <user>", "USER, UID, USER:GROUP or UID:GID")
			.option("-w, --workdir <dir>", "working directory")
			.option("--hostname <name>", "host name")
			.option("--entrypoint <program>", "instead of the image's")
			.option("--read-only", "read-only root file system")
			.option("--net-host", "share the host's network")
			.addOption(list("--cap-add <name>", "add a capability"))
			.addOption(list("--cap-drop <name>", "drop a capability, or ALL"))
			.option("--log-uri <uri>", "with --detach: file:///path or binary:///path for the output")
			.option("--runtime <name>", "shim to run it", "io.containerd.troupe.v2")
			.option("--snapshotter <name>", "snapshotter of its root", "")
			.action(async (image, args, options, self) =>
				(await import("./run/run.ts")).run(targetOf(self), image, args, options),
			),
	ps: (command) =>
		command("ps", "list containers with the state of their tasks")
			.option("-q, --quiet", "ids only")
			.action(async (options, self) => (await import("./commands/ps.ts")).ps(targetOf(self), options)),
	inspect: (command) =>
		command("inspect <container>", "explain a container: spec, task, actor, last transitions").action(
			async (id, _options, self) => (await import("./commands/inspect.ts")).inspect(targetOf(self), id),
		),
	kill: (command) =>
		command("kill <container>", "send a signal")
			.option("-s, --signal <signal>", "name or number", "KILL")
			.option("--all", "to all processes, not only the first")
			.action(async (id, options, self) => (await import("./commands/kill.ts")).kill(targetOf(self), id, options)),
	stop: (command) =>
		command("stop <container...>", "ask containers to end, then kill them")
			.option("-t, --time <seconds>", "before they are killed", "10")
			.action(async (ids, options, self) => (await import("./commands/stop.ts")).stop(targetOf(self), ids, options)),
	rm: (command) =>
		command("rm <container...>", "remove containers")
			.option("-f, --force", "kill what runs")
			.action(async (ids, options, self) => (await import("./commands/rm.ts")).rm(targetOf(self), ids, options)),
	events: (command) =>
		command("events", "show events")
			.option("-f, --follow", "go on with what happens; alone: only that")
			.option("--since <number>", "begin after this record of the journal (default without --follow: 0)")
			.addOption(list("--topic <topic>", "only this topic or those below it, such as /tasks"))
			.addOption(list("--actor <path>", "transitions of this actor and those below it"))
			.option("--transitions", "actors' transitions too")
			.option("-A, --all-namespaces", "of all namespaces")
			.action(async (options, self) => (await import("./commands/events.ts")).events(targetOf(self), options)),
	tree: (command) =>
		command("tree", "show the tree of actors with their states")
			.option("-w, --watch", "draw it again at each change")
			.action(async (options, self) => (await import("./commands/tree.ts")).tree(targetOf(self), options)),
	doctor: (command) =>
		command("doctor", "say what this host lacks, and what to do").action(async (_options, self) =>
			(await import("./doctor/doctor.ts")).doctor(targetOf(self)),
		),
	version: (command) =>
		command("version", "show the versions of client and daemon").action(async (_options, self) =>
			(await import("./commands/version.ts")).version(targetOf(self)),
		),
};

/** Global options may stand before or after the command's name. */
function program(words: readonly string[]): Command {
	const root = new Command("troupe")
		.description("containers whose state can be explained")
		.enablePositionalOptions()
		.version(clientVersion, "-v, --version")
		.configureHelp({ sortSubcommands: true })
		.exitOverride();
	globalOptions(root);
	// Declaring all commands takes longer than to run one: the one that is meant is enough, unless it is not clear.
	const wanted = words.filter((word) => Object.hasOwn(commands, word));
	const declared = wanted.length === 1 && !words.includes("help") ? wanted : Object.keys(commands);
	for (const name of declared)
		commands[name]?.((usage, summary) => globalOptions(root.command(usage).description(summary).exitOverride()));
	return root;
}

const globalOptions = (command: Command): Command =>
	command
		.option("-a, --address <socket>", `the daemon's socket (default: $TROUPE_ADDRESS or ${defaultAddress})`)
		.option("-n, --namespace <name>", "namespace (default: $TROUPE_NAMESPACE or default)")
		.addOption(new Option("-o, --output <form>", "form of the output (default: table)").choices(["table", "json"]));

function targetOf(command: Command): Target {
	const global = command.parent?.opts() ?? {};
	const { address, namespace, output } = { ...global, ...definedIn(command.opts()) };
	return {
		address: (address ?? process.env.TROUPE_ADDRESS ?? defaultAddress).replace(/^unix:\/\//, ""),
		namespace: namespace ?? process.env.TROUPE_NAMESPACE ?? "default",
		output: output ?? "table",
	};
}

const definedIn = (options: Readonly<Record<string, string>>): Record<string, string> =>
	Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

const fail = (reason: unknown): never => {
	if (reason instanceof ExitWith) process.exit(reason.code);
	// commander has printed its own: help and version end with 0, a wrong use with our code for own errors
	if (reason instanceof CommanderError) process.exit(reason.exitCode === 0 ? 0 : exitCodes.own);
	// `events | head` ends, without a word, when head has what it wants
	if ((reason as NodeJS.ErrnoException).code === "EPIPE") process.exit(brokenPipe);
	const { line, code } = failure(reason);
	process.stderr.write(`${line}\n`);
	process.exit(code);
};

process.on("uncaughtException", fail);
void program(process.argv.slice(2))
	.parseAsync()
	.then(() => process.exit(0), fail);
