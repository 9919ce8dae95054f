import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { System } from "../../actors/kernel/system.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import type { Log } from "../log/log.ts";
import type { Plugin, PluginStatus } from "../plugin/plugin.ts";
import { RunningPlugins } from "../plugin/running-plugins.ts";
import { healthService } from "../services/health/health.service.ts";
import { grpcServices, systemKey, ttrpcServices } from "../services/plugin-keys.ts";
import type { Service } from "../services/rpc.ts";
import type { Kernel } from "../sys/kernel.ts";
import { serve as serveTtrpc, type TtrpcServer } from "../ttrpc/server.ts";
import { type GrpcServer, serveGrpc } from "./grpc-server.ts";
import { holdDirectory } from "./held-directory.ts";
import { type RunningTasks, taskManagerKey } from "./plugins/task.plugins.ts";
import { ttrpcImplementations } from "./ttrpc-services.ts";
import { checkSocketPath, removeStaleSocket, type SocketOwner } from "./unix-listener.ts";

export interface DaemonOptions {
	/** Persistent data. */
	readonly root: string;
	/** Data that a reboot may take; not the same directory. */
	readonly state: string;
	/** Path of the gRPC socket; ttrpc listens on the same with `.ttrpc` behind it. */
	readonly address: string;
	/** Who besides the daemon's user may use the gRPC socket. Default: nobody. */
	readonly owner?: SocketOwner;
	readonly plugins: readonly Plugin[];
	/** Checked sections of the configuration, by plugin URI. */
	readonly configs?: ReadonlyMap<string, unknown>;
	/** Plugins that must start. */
	readonly required?: readonly string[];
	readonly disabled?: readonly string[];
	readonly log: Log;
	readonly kernel: Pick<Kernel, "flock">;
}

export interface Daemon {
	readonly plugins: () => readonly PluginStatus[];
	/** The actors; undefined if their plugin has not started. */
	readonly system: System | undefined;
	/** Closes the sockets, stops plugins in reverse order, lets go of the directories. Containers live on. */
	stop(): Promise<void>;
}

/** Milliseconds that calls under way may take to end. */
const callGraceMs = 2_000;
/** Milliseconds that one plugin may take to stop. */
const pluginGraceMs = 5_000;

/**
 * Starts everything, lowest first: directories, plugins (among them store and actors), the ttrpc socket, on which shims tell
 * what they have kept, reconciliation of the tasks, and last the gRPC socket: who can connect finds everything there. What has started is stopped again if a later
 * step fails. Errors: FailedPrecondition (another daemon, a required plugin), InvalidArgument (plugin graph, a path).
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
	const { root, state, address, log } = options;
	checkSocketPath(`${address}.ttrpc`);
	if (root === state)
		throw new DaemonError("InvalidArgument", { kind: "directory", id: root }, "root and state must not be the same");
	// libuv's threads start with the first asynchronous call and keep the namespaces of the thread that made it: make it here,
	// before a worker that has unshared could.
	await stat("/");
	const undo = new AsyncDisposableStack();
	try {
		undo.use(await holdDirectory(root, 0o711, options.kernel));
		// Two daemons with one state directory would sweep each other's bundles, whatever their roots.
		undo.use(await holdDirectory(state, 0o711, options.kernel));
		const stopping = new AbortController();
		const plugins = await RunningPlugins.start({
			plugins: options.plugins,
			root,
			state,
			addresses: { grpc: address, ttrpc: `${address}.ttrpc` },
			log,
			signal: stopping.signal,
			stopTimeoutMs: pluginGraceMs,
			...(options.configs === undefined ? {} : { configs: options.configs }),
			...(options.required === undefined ? {} : { required: options.required }),
			...(options.disabled === undefined ? {} : { disabled: options.disabled }),
		});
		undo.defer(() => plugins.stop());
		undo.defer(() => stopping.abort());
		const services = [...plugins.ofType<Service>(grpcServices.group).values()];
		const forShims = [...plugins.ofType<Service>(ttrpcServices.group).values()];
		const ttrpc = await openTtrpc(`${address}.ttrpc`, [...services, ...forShims], log);
		undo.defer(() => ttrpc.close());
		const tasks = plugins.get(taskManagerKey);
		if (tasks !== undefined) await reconcile(tasks);
		const grpc = await openGrpc(options, services);
		undo.defer(() => grpc.stop(callGraceMs));
		tasks?.manager.sweep(stopping.signal).catch((error: unknown) => log.error({ error }, "sweep of bundles failed"));
		const started = undo.move();
		return {
			plugins: () => plugins.list(),
			system: plugins.get(systemKey),
			stop: () => started.disposeAsync(),
		};
	} catch (reason) {
		await undo.disposeAsync();
		throw reason;
	}
}

/** What shims have kept comes first, then what became of every task; shims that nobody needs any more may go. */
async function reconcile({ manager, shims }: RunningTasks): Promise<void> {
	await shims.flush();
	await manager.reconciled();
	shims.releaseEmpty();
}

/** The CLI uses this socket for unary calls: it starts faster without gRPC. */
async function openTtrpc(path: string, services: readonly Service[], log: Log): Promise<TtrpcServer> {
	await mkdir(dirname(path), { recursive: true, mode: 0o711 });
	await removeStaleSocket(path);
	return serveTtrpc(path, ttrpcImplementations(services, log), {
		onError: (error) => log.error({ error }, "ttrpc call failed"),
	});
}

function openGrpc({ address, owner, log }: DaemonOptions, services: readonly Service[]): Promise<GrpcServer> {
	// Health is about the others, so it is no plugin among them.
	const health = healthService(() => services.map(({ fullName }) => fullName));
	return serveGrpc({ address, services: [...services, health], log, ...(owner === undefined ? {} : { owner }) });
}
