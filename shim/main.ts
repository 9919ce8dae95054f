import { mkdirSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import type { Kernel } from "../src/sys/kernel.ts";
import { nativeKernel } from "../src/sys/native-kernel.ts";
import { serve } from "../src/ttrpc/server.ts";
import { type Arguments, parseArguments } from "./arguments.ts";
import { deleteBundle } from "./delete.ts";
import { connectToStandby, ownCommand } from "./ensure-standby.ts";
import { type Log, logTo, reasonOf } from "./log.ts";
import { MemoryReturn } from "./memory.ts";
import { type Places, placesOf, readSettings, type Settings } from "./settings.ts";
import { Shard } from "./shard.ts";
import { shardService } from "./shard-service.ts";
import { Standby } from "./standby.ts";
import { standbyService } from "./standby-service.ts";
import { standbyWords, start } from "./start.ts";
import { taskServices } from "./task-service.ts";
import { runtimeName, version } from "./version.ts";

const PR_SET_CHILD_SUBREAPER = 36;
/** Descriptor of the listening socket that a serving process inherits. */
const listener = { fd: 3 };
/** Seldom: a look takes pages back that were given away at rest. */
const idleLookMs = 10_000;

async function main(): Promise<void> {
	const words = parseArguments(process.argv.slice(2));
	const { address, action, namespace, shard } = words;
	const settings = readSettings(process.env, address);
	const places = placesOf(address, process.env);
	const context = { pid: process.pid, action, namespace, ...(shard === "" ? {} : { shard }) };
	const log = logTo((line) => writeSync(2, line), context, words.debug);
	const bundle = words.bundle === "" ? process.cwd() : words.bundle;
	if (words.version) say(`${runtimeName} ${version}\n`);
	else if (words.info) say(await (await import("./info.ts")).info(settings));
	else if (action === "start") say(await start(nativeKernel, words, places, settings, bundle));
	else if (action === "delete") say(await deleteBundle(nativeKernel, words, bundle, places, settings, log));
	else if (action === "standby") await announceStandby(words, places);
	else if (action === "standby-process") await runStandby(nativeKernel, words, places, settings, log);
	else if (action === "shard") await runShard(nativeKernel, words, places, settings, log);
	else throw new Error(`unknown action ${JSON.stringify(action)}: start, delete, standby`);
}

const say = (answer: string | Uint8Array): void => writeFileSync(1, answer);

/** For the daemon: starts the standby if it does not run, and prints its address. */
async function announceStandby({ address, debug }: Arguments, places: Places): Promise<void> {
	(await connectToStandby(nativeKernel, places, standbyWords(address, debug))).close();
	say(`unix://${places.standbySocket}`);
}

async function runStandby(
	kernel: Kernel,
	{ address, debug }: Arguments,
	places: Places,
	settings: Settings,
	log: Log,
): Promise<void> {
	becomeReaper(kernel);
	raiseOomScore();
	mkdirSync(places.state, { recursive: true, mode: 0o711 });
	const own = ownCommand();
	const shardCommand = { file: own.file, args: [...own.args, ...standbyWords(address, debug)] };
	const standby = new Standby({ kernel, places, settings, log, shardCommand });
	const end = async () => {
		await server.close();
		await standby.close();
		rmSync(places.standbySocket, { force: true });
		process.exit(0);
	};
	const onError = (error: Error) => log("error", error.message, { cause: reasonOf(error.cause) });
	const memory = new MemoryReturn(kernel);
	const services = [standbyService(standby, settings.shardSize, () => void end())];
	const server = await serve(listener, services, { onError, onRequest: () => memory.used() });
	setInterval(() => standby.inheritAbandoned(), idleLookMs);
	// Nobody asks the standby of another daemon to end: it does so when it has nothing to do and nobody is connected.
	whenIdle(
		() => standby.idle && server.connections === 0,
		() => void end(),
	);
	log("info", "standby runs");
	reapOnSignal(standby.reaper, memory);
}

async function runShard(
	kernel: Kernel,
	{ shard, namespace, group }: Arguments,
	places: Places,
	settings: Settings,
	log: Log,
): Promise<void> {
	becomeReaper(kernel);
	const identity = { shard, namespace, group };
	const onEnd = () => {
		rmSync(places.shardSocket(shard), { force: true });
		process.exit(0);
	};
	const shards = new Shard({ identity, places, settings, kernel, log, onEnd });
	const onError = (error: Error) => log("error", error.message, { cause: reasonOf(error.cause) });
	const server = await serve(listener, [...taskServices(shards), shardService(shards)], { onError });
	// The daemon lets an empty shard go. Without one it goes by itself, and leaves to the standby what nobody has heard.
	whenIdle(
		() => {
			if (server.connections > 0) return false;
			shards.forgetDisowned();
			return shards.idle;
		},
		() => void shards.shutdown(),
	);
	log("info", "shard runs");
	reapOnSignal(shards.reaper, new MemoryReturn(kernel));
}

/** Idle at two looks in a row. */
function whenIdle(isIdle: () => boolean, act: () => void): void {
	let looks = 0;
	setInterval(() => {
		looks = isIdle() ? looks + 1 : 0;
		if (looks > 1) act();
	}, idleLookMs);
}

function becomeReaper(kernel: Kernel): void {
	kernel.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	// Asked to end by a signal (a service manager stops the daemon's group): containers go on, so does their parent.
	for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGPIPE"] as const) process.on(signal, () => {});
}

function reapOnSignal(reaper: { sweep(): void }, memory: MemoryReturn): void {
	process.on("SIGCHLD", () => {
		memory.used();
		reaper.sweep();
	});
	reaper.sweep(); // what ended before the handler was there
}

/** The daemon goes after its shims' containers and before its shims (containerd: one more than the parent's). */
function raiseOomScore(): void {
	const own = Number(readFileSync("/proc/self/oom_score_adj", "utf8"));
	writeFileSync("/proc/self/oom_score_adj", String(Math.min(own + 1, 1000)));
}

main().catch((reason: unknown) => {
	writeSync(2, `${reasonOf(reason)}\n`);
	process.exit(1);
});
