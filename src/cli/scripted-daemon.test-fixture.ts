import { type ChildProcess, spawn } from "node:child_process";
import { constants, mkdtempSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { DaemonError } from "../errors/daemon-error.ts";
import { ContainersDefinition } from "../gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../gen/containerd/services/snapshots/v1/snapshots.ts";
import { TasksDefinition } from "../gen/containerd/services/tasks/v1/tasks.ts";
import { type GenerateSpecRequest, SpecsDefinition } from "../gen/troupe/v1/specs.ts";
import { implementation, serve, type TtrpcServer } from "../ttrpc/server.ts";

/** What a "container" does once it is started: returns its exit code. */
export type Program = (stdio: {
	readonly out: (text: string) => Promise<void>;
	readonly err: (text: string) => Promise<void>;
	/** Reads all of stdin. */
	readonly input: () => Promise<string>;
	/** Resolves with the next signal. */
	readonly signal: () => Promise<number>;
}) => Promise<number>;

export interface Outcome {
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

/** A daemon that has no containers, but a script: what the CLI asks of it, in which order, and what it makes of answers. */
export class ScriptedDaemon {
	/** Methods in the order in which their requests came. */
	readonly calls: string[] = [];
	readonly directory = mkdtempSync(join(tmpdir(), "troupe-cli-"));
	readonly address = join(this.directory, "troupe.sock");
	program: Program = async () => 0;
	/** Methods that fail, with what. */
	readonly failures = new Map<string, DaemonError>();
	/** The last request for a spec. */
	asked: GenerateSpecRequest | undefined;
	#server: TtrpcServer | undefined;
	/** Opened when the task is created, as a shim does: the client's end of file is our closing. */
	#outputs: FileHandle[] = [];
	#stdin: FileHandle | undefined;
	#exit = Promise.withResolvers<number>();
	readonly #signals: number[] = [];
	#onSignal = (): void => {};

	async start(): Promise<void> {
		this.#server = await serve(`${this.address}.ttrpc`, [
			implementation(SpecsDefinition, {
				generate: (request) => {
					this.#called("generate");
					this.asked = request;
					const spec = { typeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: Buffer.from("{}") };
					return { spec, parent: "sha256:chain", snapshotter: "overlayfs", stopSignal: "" };
				},
			}),
			implementation(ContainersDefinition, {
				create: ({ container }) => {
					this.#called("containers.create");
					return { container };
				},
				delete: () => {
					this.#called("containers.delete");
					return {};
				},
			}),
			implementation(SnapshotsDefinition, {
				prepare: () => {
					this.#called("snapshots.prepare");
					return { mounts: [{ type: "bind", source: "/nowhere", target: "", options: [] }] };
				},
				remove: () => {
					this.#called("snapshots.remove");
					return {};
				},
			}),
			implementation(TasksDefinition, {
				create: async ({ containerId, stdin, stdout, stderr }) => {
					this.#called("tasks.create");
					const paths = [stdout, stderr].map((path) => (path === "" ? "/dev/null" : path));
					this.#outputs = await Promise.all(paths.map((path) => open(path, constants.O_WRONLY)));
					this.#stdin = stdin === "" ? undefined : await open(stdin, constants.O_RDONLY);
					return { containerId, pid: 17 };
				},
				wait: async () => {
					this.#called("tasks.wait");
					return { exitStatus: await this.#exit.promise, exitedAt: undefined };
				},
				start: () => {
					this.#called("tasks.start");
					void this.#play();
					return { pid: 17 };
				},
				kill: ({ signal }) => {
					this.#signals.push(signal);
					this.#onSignal();
					return {};
				},
				closeIO: () => {
					this.#called("tasks.closeIO");
					return {};
				},
				delete: ({ containerId }) => {
					this.#called("tasks.delete");
					return { id: containerId, pid: 17, exitStatus: 0, exitedAt: undefined };
				},
			}),
		]);
	}

	#called(method: string): void {
		this.calls.push(method);
		const failure = this.failures.get(method);
		if (failure !== undefined) throw failure;
	}

	async #play(): Promise<void> {
		const [out, err] = this.#outputs;
		const exitCode = await this.program({
			out: async (text) => out?.writeFile(text),
			err: async (text) => err?.writeFile(text),
			input: async () => {
				const text = await this.#stdin?.readFile("utf8");
				await this.#stdin?.close();
				return text ?? "";
			},
			signal: async () => {
				while (this.#signals.length === 0)
					await new Promise<void>((next) => {
						this.#onSignal = next;
					});
				return this.#signals.shift() ?? 0;
			},
		});
		for (const file of this.#outputs.splice(0)) await file.close();
		this.#exit.resolve(exitCode);
	}

	/** The daemon goes away (its connections break) and comes back; the "container" goes on. */
	async restart(): Promise<void> {
		await this.#server?.close();
		await this.start();
	}

	/** Starts `troupe` against this daemon. */
	spawn(...args: string[]): ChildProcess {
		const node = resolve(import.meta.dirname, "../../scripts/with-node");
		return spawn(node, [join(import.meta.dirname, "main.ts"), "--address", this.address, ...args], {
			stdio: ["pipe", "pipe", "pipe"],
		});
	}

	async troupe(...args: string[]): Promise<Outcome> {
		return outcomeOf(this.spawn(...args));
	}

	async close(): Promise<void> {
		await this.#server?.close();
		rmSync(this.directory, { recursive: true, force: true });
	}
}

const programTimeoutMs = 8_000;

export function outcomeOf(child: ChildProcess, input?: string): Promise<Outcome> {
	return new Promise((settle, reject) => {
		const texts = { stdout: "", stderr: "" };
		child.stdout?.on("data", (chunk) => (texts.stdout += chunk));
		child.stderr?.on("data", (chunk) => (texts.stderr += chunk));
		if (input !== undefined) child.stdin?.end(input);
		const timer = setTimeout(() => child.kill("SIGKILL"), programTimeoutMs);
		child.once("error", reject);
		child.once("close", (code) => {
			clearTimeout(timer);
			settle({ code, ...texts });
		});
	});
}
