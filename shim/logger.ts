import { DaemonError } from "../src/errors/daemon-error.ts";
import type { ChildExit } from "../src/sys/child-exit.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { spawn } from "../src/sys/spawn.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import type { Reaper } from "./reaper.ts";
import { within } from "./time.ts";

const O_CLOEXEC = 0o2000000;
const readyMs = 10_000;
/** A logger that reads its pipes to their end finishes by itself; then it is asked, then it is killed (containerd: 12 s). */
const finishMs = 2_000;
const terminateMs = 12_000;

export interface LoggerContext {
	readonly kernel: Kernel;
	readonly reaper: Reaper;
	readonly nothing: number;
	readonly environment: readonly string[];
}

/** A logging driver (`binary:///path?key=value`): reads the container's output from its descriptors 3 and 4. */
export class LoggerProcess {
	/** Writing ends: given to the container. */
	readonly stdout: number;
	readonly stderr: number;
	readonly #kernel: Kernel;
	readonly #pid: number;
	readonly #ended: Promise<ChildExit>;

	private constructor(kernel: Kernel, pid: number, ended: Promise<ChildExit>, stdout: number, stderr: number) {
		this.#kernel = kernel;
		this.#pid = pid;
		this.#ended = ended;
		this.stdout = stdout;
		this.stderr = stderr;
	}

	/** Resolves when the logger has said that it is ready by closing descriptor 5 (`binary-v2`: by writing a byte first). */
	static async start(uri: URL, id: string, namespace: string, context: LoggerContext): Promise<LoggerProcess> {
		const { kernel, reaper, nothing, environment } = context;
		const object = { kind: "logger", namespace, id: uri.pathname };
		const pipes = [pipe(kernel), pipe(kernel), pipe(kernel)] as const;
		const [out, error, ready] = pipes;
		const args = [...uri.searchParams.keys()].flatMap((key, index, keys) =>
			keys.indexOf(key) === index ? [key, uri.searchParams.get(key) ?? ""] : [],
		);
		let pid: number;
		try {
			pid = spawn(kernel, {
				file: decodeURIComponent(uri.pathname),
				args,
				environment: [...environment, `CONTAINER_ID=${id}`, `CONTAINER_NAMESPACE=${namespace}`],
				descriptors: [nothing, nothing, nothing, out.read, error.read, ready.write],
			});
		} catch (reason) {
			for (const { read, write } of pipes) for (const end of [read, write]) kernel.close(end);
			throw DaemonError.from(reason, object);
		}
		for (const end of [out.read, error.read, ready.write]) kernel.close(end);
		const logger = new LoggerProcess(kernel, pid, reaper.exitOf(pid), out.write, error.write);
		const said = await readiness(kernel, ready.read);
		kernel.close(ready.read);
		if (said === "late" || (uri.protocol === "binary-v2:" && said !== "byte")) {
			kernel.close(out.write);
			kernel.close(error.write);
			await logger.finish();
			throw new DaemonError("FailedPrecondition", object, "the logger did not become ready");
		}
		return logger;
	}

	/** Waits for the logger to end; the writing ends must be closed. At most 14 s. */
	async finish(): Promise<void> {
		if ((await within(finishMs, this.#ended)) !== undefined) return;
		this.#signal(15);
		if ((await within(terminateMs, this.#ended)) !== undefined) return;
		this.#signal(9);
		await this.#ended;
	}

	/** The pid is ours until its exit was taken by the reaper, so it cannot be somebody else's. */
	#signal(signal: number): void {
		try {
			this.#kernel.kill(this.#pid, signal);
		} catch (reason) {
			if (!failedWith(reason, "ESRCH")) throw reason;
		}
	}
}

function pipe(kernel: Pick<Kernel, "pipe2">): { readonly read: number; readonly write: number } {
	const ends = Buffer.alloc(8);
	kernel.pipe2(ends, O_CLOEXEC);
	return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
}

async function readiness(kernel: Kernel, descriptor: number): Promise<"byte" | "closed" | "late"> {
	const { promise, resolve } = Promise.withResolvers<"byte" | "closed">();
	const poll = kernel.poll(descriptor, () => {
		poll.close();
		resolve(kernel.read(descriptor, Buffer.alloc(1), 1) === 1 ? "byte" : "closed");
	});
	const said = await within(readyMs, promise);
	poll.close();
	return said ?? "late";
}
