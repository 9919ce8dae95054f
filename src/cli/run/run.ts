import { constants } from "node:os";
import { DaemonError } from "../../errors/daemon-error.ts";
import { TasksDefinition } from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { Status } from "../../gen/containerd/types/task/task.ts";
import type { SpecOptions } from "../../gen/troupe/v1/specs.ts";
import { parseMount } from "../../oci/mount-option.ts";
import { DaemonConnection } from "../daemon-connection.ts";
import { brokenPipe, ExitWith, failure } from "../failure.ts";
import { imageName } from "../image-name.ts";
import { parseBytes, parsePositive, parseVolume } from "../option-values.ts";
import type { Target } from "../target.ts";
import { type ContainerPlan, type CreatedContainer, createContainer, randomContainerId } from "./container-creation.ts";
import { Fifos } from "./fifos.ts";
import { copyInput } from "./input-copy.ts";
import { OutputCopy } from "./output-copy.ts";
import { forwardSignals } from "./signal-forwarding.ts";
import { borrowTerminal } from "./terminal.ts";

export interface RunOptions {
	readonly rm?: boolean;
	readonly detach?: boolean;
	readonly interactive?: boolean;
	readonly tty?: boolean;
	readonly name?: string;
	readonly env: readonly string[];
	readonly label: readonly string[];
	readonly mount: readonly string[];
	readonly volume: readonly string[];
	readonly memory?: string;
	readonly cpus?: string;
	readonly pidsLimit?: string;
	readonly user?: string;
	readonly workdir?: string;
	readonly hostname?: string;
	readonly entrypoint?: string;
	readonly readOnly?: boolean;
	readonly netHost?: boolean;
	readonly capAdd: readonly string[];
	readonly capDrop: readonly string[];
	readonly logUri?: string;
	readonly runtime: string;
	readonly snapshotter: string;
}

/** Runtime create and start may pull a cold disk and mount dozens of layers. */
const createTimeoutMs = 120_000;
/** A daemon that is away longer is not coming back by itself. */
const daemonAwayMs = 60_000;

/** `troupe run`: a container from an image, in the foreground or detached. Ends with {@link ExitWith} its exit code. */
export async function run(target: Target, image: string, args: readonly string[], options: RunOptions): Promise<void> {
	refuseContradictions(options);
	const plan = planOf(imageName(image), args, options);
	const daemon = await DaemonConnection.open(target);
	try {
		const container = await createContainer(daemon, plan);
		if (options.detach === true) await runDetached(daemon, container, options.logUri ?? "");
		else throw new ExitWith(await runAttached(daemon, container, options));
	} finally {
		daemon.close();
	}
}

function refuseContradictions({ detach, rm, interactive, tty }: RunOptions): void {
	const refuse = (problem: string): DaemonError =>
		new DaemonError("InvalidArgument", { kind: "command", id: "run" }, problem);
	if (detach === true && rm === true)
		throw refuse("--rm and --detach exclude each other: nobody would be left to remove it");
	if (detach === true && (interactive === true || tty === true))
		throw refuse("--detach excludes --interactive and --tty: nobody would be left at the terminal");
	if (tty === true && !process.stdin.isTTY) throw refuse("--tty needs a terminal as standard input");
}

function planOf(image: string, args: readonly string[], options: RunOptions): ContainerPlan {
	const id = options.name ?? randomContainerId();
	const mounts = [...options.volume.map(parseVolume), ...options.mount].map(parseMount);
	const spec: Partial<SpecOptions> = {
		args: [...args],
		env: [...options.env],
		terminal: options.tty === true,
		readonlyRootfs: options.readOnly === true,
		hostNetwork: options.netHost === true,
		addCapabilities: [...options.capAdd],
		dropCapabilities: [...options.capDrop],
		mounts: mounts.map(({ destination, type = "bind", source = "", options: list = [] }) => ({
			destination,
			type,
			source,
			options: list,
		})),
		entrypoint: options.entrypoint === undefined ? undefined : { values: [options.entrypoint] },
		workingDir: options.workdir,
		user: options.user,
		hostname: options.hostname,
		memoryLimit: options.memory === undefined ? undefined : parseBytes("memory", options.memory),
		cpus: options.cpus === undefined ? undefined : parsePositive("cpus", options.cpus),
		pidsLimit: options.pidsLimit === undefined ? undefined : BigInt(parsePositive("pids-limit", options.pidsLimit)),
	};
	const labels = options.label.map((label): [string, string] => {
		const [name = "", ...value] = label.split("=");
		return [name, value.join("=")];
	});
	return {
		id,
		image,
		runtime: options.runtime,
		snapshotter: options.snapshotter,
		options: spec,
		labels: Object.fromEntries(labels),
	};
}

async function runDetached(daemon: DaemonConnection, container: CreatedContainer, logUri: string): Promise<void> {
	const { id: containerId, rootfs } = container;
	try {
		const request = { containerId, rootfs, stdout: logUri, stderr: logUri };
		await daemon.service(TasksDefinition).create(request, { timeoutMs: createTimeoutMs });
		await startTask(daemon, containerId);
	} catch (error) {
		await removeAfter(error, container);
		throw error;
	}
	process.stdout.write(`${containerId}\n`);
}

/** What failed is what the user must hear; a daemon that is gone cannot remove, and the container is kept. */
async function removeAfter(error: unknown, container: CreatedContainer): Promise<void> {
	if (isUnavailable(error)) return;
	await container.remove().catch((problem: unknown) => {
		process.stderr.write(`${failure(problem).line} (while removing container ${container.id})\n`);
	});
}

const isUnavailable = (error: unknown): boolean => error instanceof DaemonError && error.code === "Unavailable";

/** Waits for a daemon that went away, then does `work` again; what it had already deleted before counts as done. */
async function acrossRestarts<T>(daemon: DaemonConnection, work: () => Promise<T>): Promise<T | undefined> {
	try {
		return await work();
	} catch (error) {
		if (!isUnavailable(error)) throw error;
	}
	for (;;) {
		await daemon.reopen(daemonAwayMs);
		try {
			return await work();
		} catch (error) {
			if (error instanceof DaemonError && error.code === "NotFound") return undefined;
			if (!isUnavailable(error)) throw error;
		}
	}
}

/** The exit, across restarts of the daemon: the container and its output do not need it. */
async function exitOf(daemon: DaemonConnection, containerId: string): Promise<number> {
	const tasks = daemon.service(TasksDefinition);
	const wait = () => tasks.wait({ containerId }, { timeoutMs: Number.POSITIVE_INFINITY });
	const exit = await acrossRestarts(daemon, wait);
	if (exit === undefined)
		throw new DaemonError(
			"NotFound",
			{ kind: "task", id: containerId },
			"was deleted by somebody else; its exit code is lost",
		);
	return exit.exitStatus;
}

/** Starts the task; a daemon that went away before it answered is asked whether the task runs. */
async function startTask(daemon: DaemonConnection, containerId: string): Promise<void> {
	const tasks = daemon.service(TasksDefinition);
	let again = false;
	try {
		await acrossRestarts(daemon, async () => {
			if (again && (await tasks.get({ containerId })).process?.status !== Status.CREATED) return;
			again = true;
			await tasks.start({ containerId }, { timeoutMs: createTimeoutMs });
		});
	} catch (error) {
		if (!isUnavailable(error)) await tasks.delete({ containerId });
		throw error;
	}
}

/** Resolves with the exit code, after all output has been written. */
async function runAttached(
	daemon: DaemonConnection,
	container: CreatedContainer,
	options: RunOptions,
): Promise<number> {
	const tasks = daemon.service(TasksDefinition);
	const containerId = container.id;
	const terminal = options.tty === true;
	const fifos = new Fifos(containerId, { stdin: options.interactive === true || terminal, terminal });
	let exitCode: number;
	try {
		await tasks.create(
			{ containerId, rootfs: container.rootfs, ...fifos.paths, terminal },
			{ timeoutMs: createTimeoutMs },
		);
		exitCode = await attend(daemon, containerId, fifos, terminal);
	} catch (error) {
		await removeAfter(error, container);
		throw error;
	} finally {
		fifos.remove();
	}
	if (options.rm === true) await acrossRestarts(daemon, () => container.remove());
	return exitCode;
}

/** From the created task to its deletion: copies, signals, the terminal. */
async function attend(
	daemon: DaemonConnection,
	containerId: string,
	fifos: Fifos,
	isTerminal: boolean,
): Promise<number> {
	const tasks = daemon.service(TasksDefinition);
	const outputs = [new OutputCopy(fifos.stdout, 1)];
	if (fifos.stderr !== undefined) outputs.push(new OutputCopy(fifos.stderr, 2));
	fifos.letGo();
	const kill = (signal: number): void => {
		tasks.kill({ containerId, signal }).catch(() => {}); // it has exited, or the exit will tell: the wait knows
	};
	const stopForwarding = forwardSignals(kill);
	const terminal = isTerminal ? borrowTerminal() : undefined;
	const resize = (): void => {
		if (terminal !== undefined) tasks.resizePty({ containerId, ...terminal.size() }).catch(() => {}); // cosmetic
	};
	let readerGone = false;
	for (const output of outputs)
		void output.broken.then(() => {
			readerGone = true;
			kill(constants.signals.SIGKILL); // as a pipe does to a program: its output has no reader any more
		});
	try {
		// The wait is sent before the start: an exit that is quicker than our next call is not missed.
		const exit = exitOf(daemon, containerId);
		exit.catch(() => {}); // reported below; a start that fails comes first
		const input = fifos.stdin === undefined ? undefined : copyInput(fifos.stdin);
		void input?.done.then(() => tasks.closeIO({ containerId, stdin: true })).catch(() => {}); // it has exited
		try {
			resize();
			terminal?.onResize(resize);
			await startTask(daemon, containerId);
			const exitStatus = await exit;
			await acrossRestarts(daemon, () => tasks.delete({ containerId }));
			await Promise.all(outputs.map((output) => output.finish()));
			return readerGone ? brokenPipe : exitStatus;
		} finally {
			input?.stop();
		}
	} finally {
		for (const output of outputs) await output.finish();
		terminal?.restore();
		stopForwarding();
	}
}
