import { openLog } from "../log/log.ts";
import { storeKey, systemKey } from "../services/plugin-keys.ts";
import { nativeKernel } from "../sys/native-kernel.ts";
import type { ConfigurationFlags } from "./arguments.ts";
import { loadConfiguration } from "./configuration.ts";
import { crashOnUnexpected } from "./crash.ts";
import { type Daemon, startDaemon } from "./daemon.ts";
import { dump } from "./dump.ts";
import { applyOomScore } from "./oom-score.ts";
import { daemonPlugins } from "./plugins/daemon-plugins.ts";
import { taskManagerKey } from "./plugins/task.plugins.ts";
import { notifier } from "./service-manager.ts";

/** What a daemon without is none: better not to start than to answer from nothing. */
const indispensable = [storeKey.uri, systemKey.uri, taskManagerKey.uri];
/** Milliseconds until a daemon that does not stop is ended: below systemd's 90 s, above the sum of the parts. */
const stopLimitMs = 60_000;

/** Runs until a signal says stop, or the actor tree gives up. Errors before READY reject: the caller prints them. */
export async function runDaemon(flags: ConfigurationFlags): Promise<void> {
	const { root, state, address, owner, logLevel, oomScore, required, disabled, configs } = await loadConfiguration(
		flags,
		daemonPlugins,
	);
	await applyOomScore(oomScore);
	const log = openLog({ level: logLevel, readable: process.stderr.isTTY === true });
	crashOnUnexpected(log);
	const notify = notifier(nativeKernel, process.env.NOTIFY_SOCKET);
	delete process.env.NOTIFY_SOCKET; // shims and runtimes shall not speak for us

	let daemon: Daemon | undefined;
	const stop = onceStopped(async (why) => {
		log.info({ why }, "the daemon stops; containers live on");
		notify("STOPPING=1");
		const timer = setTimeout(() => {
			log.fatal({ limitMs: stopLimitMs }, "the daemon does not stop: it is ended");
			log.flush();
			process.exit(1);
		}, stopLimitMs);
		await daemon?.stop();
		clearTimeout(timer);
		log.info({}, "the daemon has stopped");
		log.flush();
	});
	// A signal during the start is obeyed after it: what has begun is then stopped in order.
	const started = Promise.withResolvers<void>();
	for (const signal of ["SIGINT", "SIGTERM"] as const)
		process.on(signal, () => void started.promise.then(() => stop(signal)).then(() => process.exit(0)));
	process.on("SIGUSR1", () => dump(daemon?.system, log));
	process.on("SIGPIPE", () => {}); // a reader of the log that went away is not our end

	try {
		daemon = await startDaemon({
			root,
			state,
			address,
			owner,
			plugins: daemonPlugins,
			configs,
			required: [...required, ...indispensable],
			disabled,
			log,
			kernel: nativeKernel,
		});
	} catch (reason) {
		log.flush();
		throw reason;
	}
	daemon.system?.ended.catch((error: unknown) => {
		log.fatal({ error }, "the root of the actors gave up: the daemon ends");
		log.flush();
		process.exit(1);
	});
	const startMs = Math.round(process.uptime() * 1000);
	log.info({ address, root, state, pid: process.pid, startMs }, "the daemon is ready");
	notify("READY=1");
	started.resolve();
}

/** Calls `stop` for the first reason only; who comes later waits for the same end. */
function onceStopped(stop: (why: string) => Promise<void>): (why: string) => Promise<void> {
	let stopping: Promise<void> | undefined;
	return (why) => {
		stopping ??= stop(why);
		return stopping;
	};
}
