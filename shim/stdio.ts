import { statSync } from "node:fs";
import { DaemonError } from "../src/errors/daemon-error.ts";
import type { Kernel } from "../src/sys/kernel.ts";
import { ConsoleSocket, resize } from "./console.ts";
import type { StdioPaths } from "./container-record.ts";
import { Copier } from "./copier.ts";
import { isFifo, makeNonBlocking, openFifo, openFifoForReading, openLogFile, unreadBytes } from "./fifo.ts";
import { type LoggerContext, LoggerProcess } from "./logger.ts";
import { pause, within } from "./time.ts";

export interface StdioContext extends LoggerContext {
	/** A directory with a short path, for console sockets. */
	readonly sockets: string;
}

export interface StdioOwner {
	readonly containerId: string;
	readonly namespace: string;
	/** Whom FIFOs and a logger's pipes are to belong to: then the process may open /dev/stdout again. */
	readonly ioOwner?: { readonly uid: number; readonly gid: number } | undefined;
}

/** How long an exit waits for the copy of a terminal's last output. */
const drainMs = 1_000;
/** Between two looks whether somebody has read what waits in a FIFO after the exit. */
const unreadLookMs = [5, 200] as const;

/**
 * The stdio of one process. FIFOs and log files are handed to the process itself: no byte is copied. Only a terminal is
 * copied, between its master and the client's FIFOs. All descriptors are closed at the latest by `close`.
 */
export class Stdio {
	readonly paths: StdioPaths;
	/** What the OCI runtime gets as 0, 1 and 2. */
	readonly descriptors: [number, number, number];
	readonly #kernel: Kernel;
	/** Closed when the process has its own copies. */
	readonly #handed = new Set<number>();
	/** Kept while the process lives: both ends of output FIFOs, the sink of a terminal's copy. */
	readonly #outputs = new Set<number>();
	readonly #copiers: Copier[] = [];
	#stdin: number | undefined;
	#stdinCopier: Copier | undefined;
	#terminalOutput: number | undefined;
	#console: ConsoleSocket | undefined;
	#logger: LoggerProcess | undefined;
	#master: number | undefined;
	#size: { readonly width: number; readonly height: number } | undefined;
	#closed = false;

	private constructor(paths: StdioPaths, kernel: Kernel, nothing: number) {
		this.paths = paths;
		this.#kernel = kernel;
		this.descriptors = [nothing, nothing, nothing];
	}

	/** Opens what the client named. Throws DaemonError with what could not be opened. */
	static async open(paths: StdioPaths, owner: StdioOwner, context: StdioContext): Promise<Stdio> {
		const stdio = new Stdio(paths, context.kernel, context.nothing);
		try {
			await stdio.#openOutputs(owner, context);
			stdio.#openStdin(!paths.terminal);
			if (owner.ioOwner !== undefined) stdio.#chown(owner.ioOwner);
			if (paths.terminal) stdio.#console = new ConsoleSocket(context.kernel, context.sockets);
			return stdio;
		} catch (reason) {
			await stdio.close();
			throw DaemonError.from(reason, { kind: "stdio", namespace: owner.namespace, id: owner.containerId });
		}
	}

	/**
	 * For a process that runs already: holds its FIFOs again, and copies its terminal if the master was saved, to a logger that
	 * is started anew. `lost` gets what cannot be had again. FIFOs, files and loggers that the process itself writes to are its own.
	 */
	static async adopt(
		paths: StdioPaths,
		master: number | undefined,
		owner: StdioOwner,
		context: StdioContext,
		lost: (what: string, why: unknown) => void,
	): Promise<Stdio> {
		const stdio = new Stdio(paths, context.kernel, context.nothing);
		const attempt = async (what: string, open: () => Promise<void> | void) => {
			try {
				await open();
			} catch (reason) {
				lost(what, reason);
			}
		};
		if (paths.terminal) {
			await attempt("stdout", () => {
				// What lies elsewhere than in a FIFO would be made anew for a client that has taken its own away.
				if (schemeOf(paths.stdout) === "fifo" && paths.stdout !== "") statSync(plain(paths.stdout));
				return stdio.#openTerminalOutput(owner, context);
			});
			await attempt("stdin", () => stdio.#openStdin(false));
			if (master !== undefined) stdio.#attach(master);
			return stdio;
		}
		for (const path of new Set([plain(paths.stdout), plain(paths.stderr)]))
			if (isFifo(path))
				await attempt(path === plain(paths.stdout) ? "stdout" : "stderr", () => void stdio.#output(path, false));
		if (isFifo(plain(paths.stdin))) await attempt("stdin", () => stdio.#openStdin(false));
		return stdio;
	}

	/** Path for the OCI runtime's `--console-socket`. */
	get consoleSocket(): string | undefined {
		return this.#console?.path;
	}

	get master(): number | undefined {
		return this.#master;
	}

	/** FIFOs that the standby keeps open too, so that a dead shard is no end of file. */
	get fifos(): { readonly stdin: string; readonly stdout: string; readonly stderr: string } {
		const [stdin, stdout, stderr] = [this.paths.stdin, this.paths.stdout, this.paths.stderr].map((path) =>
			isFifo(plain(path)) ? plain(path) : "",
		);
		return { stdin: stdin ?? "", stdout: stdout ?? "", stderr: stderr ?? "" };
	}

	/** Log files stay whose they are, and a terminal gets its owner from the OCI runtime. */
	#chown({ uid, gid }: { readonly uid: number; readonly gid: number }): void {
		if (this.paths.terminal) return;
		for (const descriptor of new Set(this.descriptors))
			if (this.#handed.has(descriptor) || this.#fifoOutputs.has(descriptor)) this.#kernel.fchown(descriptor, uid, gid);
	}

	/** The OCI runtime has ended: the process has its descriptors, and a terminal's master has arrived. */
	async handedOver(): Promise<void> {
		for (const descriptor of this.#handed) this.#kernel.close(descriptor);
		this.#handed.clear();
		if (this.#console === undefined) return;
		const master = await within(drainMs * 5, this.#console.master);
		this.#console.close();
		this.#console = undefined;
		if (master === undefined) throw new DaemonError("DeadlineExceeded", { kind: "terminal", id: "" }, "none arrived");
		this.#attach(master);
	}

	/** Before the terminal has arrived the size is kept for it. Without a terminal nothing happens, as in containerd. */
	resize(width: number, height: number): void {
		this.#size = { width, height };
		if (this.#master !== undefined) resize(this.#kernel, this.#master, width, height);
	}

	/** Lets go of stdin: the process reads an end of file once every client has closed too. */
	closeStdin(): void {
		this.#stdinCopier?.close();
		this.#stdinCopier = undefined;
		if (this.#stdin !== undefined) this.#kernel.close(this.#stdin);
		this.#stdin = undefined;
	}

	/** After the exit: waits, not for ever, until a terminal's last output is copied. FIFOs need no copy. */
	async drain(): Promise<void> {
		this.closeStdin();
		if (this.#master !== undefined && this.#terminalOutput !== undefined)
			await within(drainMs, Promise.all(this.#copiers.map((copier) => copier.ended)));
	}

	/**
	 * After the exit: closes each output once its reader has taken everything, so that a reader that comes back finds the
	 * tail. Resolves when all are closed; `close` ends the waiting.
	 */
	async release(): Promise<void> {
		let wait: number = unreadLookMs[0];
		await Promise.race([Promise.all(this.#copiers.map((copier) => copier.ended)), this.#whenClosed.promise]);
		while (!this.#closed && [...this.#outputs].some((descriptor) => this.#unread(descriptor))) {
			await pause(wait);
			wait = Math.min(wait * 2, unreadLookMs[1]);
		}
		if (!this.#closed) this.#closeDescriptors();
	}

	readonly #whenClosed = Promise.withResolvers<void>();

	/** Closes everything, and waits (bounded) for a logger to end. */
	async close(): Promise<void> {
		this.#closed = true;
		this.#whenClosed.resolve();
		this.#closeDescriptors();
		const logger = this.#logger;
		this.#logger = undefined;
		await logger?.finish();
	}

	#closeDescriptors(): void {
		this.#console?.close();
		this.closeStdin();
		for (const copier of this.#copiers) copier.close();
		const all = [...this.#handed, ...this.#outputs, ...(this.#master === undefined ? [] : [this.#master])];
		for (const descriptor of new Set(all)) this.#kernel.close(descriptor);
		this.#handed.clear();
		this.#outputs.clear();
		this.#master = undefined;
	}

	#unread(descriptor: number): boolean {
		return this.#fifoOutputs.has(descriptor) && unreadBytes(this.#kernel, descriptor) > 0;
	}

	readonly #fifoOutputs = new Set<number>();

	async #openOutputs(owner: StdioOwner, context: StdioContext): Promise<void> {
		const { stdout, stderr, terminal } = this.paths;
		if (terminal) return this.#openTerminalOutput(owner, context);
		const scheme = schemeOf(stdout);
		if (scheme === "binary") {
			const logger = await this.#startLogger(owner, context);
			this.#handed.add(logger.stdout).add(logger.stderr);
			this.descriptors[1] = logger.stdout;
			this.descriptors[2] = logger.stderr;
		} else if (scheme === "file") this.descriptors[1] = this.descriptors[2] = this.#logFile(new URL(stdout));
		else {
			if (stdout !== "") this.descriptors[1] = this.#output(plain(stdout), false);
			if (stderr !== "")
				this.descriptors[2] = stderr === stdout ? this.descriptors[1] : this.#output(plain(stderr), false);
		}
	}

	async #openTerminalOutput(owner: StdioOwner, context: StdioContext): Promise<void> {
		const { stdout } = this.paths;
		const scheme = schemeOf(stdout);
		if (scheme === "binary") {
			const logger = await this.#startLogger(owner, context);
			context.kernel.close(logger.stderr);
			this.#outputs.add(logger.stdout);
			makeNonBlocking(context.kernel, logger.stdout);
			this.#terminalOutput = logger.stdout;
		} else if (scheme === "file") this.#terminalOutput = this.#logFile(new URL(stdout));
		else if (stdout !== "") this.#terminalOutput = this.#output(plain(stdout), true);
	}

	async #startLogger(owner: StdioOwner, context: StdioContext): Promise<LoggerProcess> {
		this.#logger = await LoggerProcess.start(new URL(this.paths.stdout), owner.containerId, owner.namespace, context);
		return this.#logger;
	}

	#output(path: string, nonBlocking: boolean): number {
		const fifo = isFifo(path);
		const descriptor = fifo ? openFifo(this.#kernel, path, nonBlocking) : openLogFile(this.#kernel, path);
		this.#outputs.add(descriptor);
		if (fifo) this.#fifoOutputs.add(descriptor);
		return descriptor;
	}

	#logFile(uri: URL): number {
		const descriptor = openLogFile(this.#kernel, decodeURIComponent(uri.pathname));
		this.#outputs.add(descriptor);
		return descriptor;
	}

	#openStdin(handOver: boolean): void {
		const path = plain(this.paths.stdin);
		if (path === "") return;
		this.#stdin = openFifo(this.#kernel, path, !handOver);
		if (!handOver) return;
		const reading = openFifoForReading(this.#kernel, path);
		this.#handed.add(reading);
		this.descriptors[0] = reading;
	}

	#attach(master: number): void {
		this.#master = master;
		makeNonBlocking(this.#kernel, master);
		if (this.#size !== undefined) resize(this.#kernel, master, this.#size.width, this.#size.height);
		this.#copiers.push(new Copier(this.#kernel, master, this.#terminalOutput));
		if (this.#stdin !== undefined) this.#stdinCopier = new Copier(this.#kernel, this.#stdin, master);
	}
}

/** Throws InvalidArgument for any other. */
function schemeOf(uri: string): "fifo" | "file" | "binary" {
	const scheme = /^([a-z][a-z0-9+.-]*):\/\//.exec(uri)?.[1] ?? "fifo";
	if (scheme === "fifo" || scheme === "file") return scheme;
	if (scheme === "binary" || scheme === "binary-v2") return "binary";
	throw new DaemonError("InvalidArgument", { kind: "stdio", id: uri }, `unknown scheme ${JSON.stringify(scheme)}`);
}

/** A FIFO's path: no scheme, or `fifo://`. */
const plain = (uri: string): string => (uri.startsWith("fifo://") ? uri.slice("fifo://".length) : uri);
