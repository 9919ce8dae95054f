import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { DaemonError } from "../src/errors/daemon-error.ts";
import type { ErrorCode } from "../src/errors/error-code.ts";
import { failedWith } from "../src/sys/sys-error.ts";
import type { RuntimeRecord } from "./container-record.ts";
import { type ProgramContext, runProgram } from "./program.ts";
import { logPrefix } from "./runtime-under-way.ts";

export interface RuntimeCall {
	/** stdin, stdout and stderr of the container's process. Default: nothing. */
	readonly descriptors?: readonly [number, number, number];
	/** Milliseconds until the runtime is killed. */
	readonly timeoutMs?: number;
}

export interface RuntimeContext extends ProgramContext {
	/** Milliseconds for one operation of the runtime. */
	readonly timeoutMs: number;
}

const helpMs = 5_000;

/** The command line of crun and runc: one short-lived process per operation. */
export class OciRuntime {
	readonly record: RuntimeRecord;
	readonly #context: RuntimeContext;

	constructor(record: RuntimeRecord, context: RuntimeContext) {
		this.record = record;
		this.#context = context;
		mkdirSync(record.root, { recursive: true, mode: 0o711 });
	}

	/**
	 * Runs `args` (command, options, id). Rejects with what the runtime logged: NotFound for a container it does not know,
	 * FailedPrecondition for one whose state does not allow it, DeadlineExceeded when it was killed for taking too long, else
	 * Unknown.
	 */
	async run(id: string, bundle: string, args: readonly string[], call: RuntimeCall = {}): Promise<void> {
		const { nothing, timeoutMs: limit } = this.#context;
		const { file, root, systemdCgroup } = this.record;
		const log = `${logPrefix(bundle)}${args[0]}-${nextNumber()}.log`;
		const global = [
			"--root",
			root,
			"--log",
			log,
			"--log-format",
			"json",
			...(systemdCgroup ? ["--systemd-cgroup"] : []),
		];
		const object = { kind: "OCI runtime", id: `${file} ${args[0]} ${id}` };
		try {
			const timeoutMs = Math.min(call.timeoutMs ?? limit, limit);
			const descriptors = call.descriptors ?? [nothing, nothing, nothing];
			const program = { file, args: [...global, ...args], descriptors, directory: bundle, timeoutMs };
			const status = await runProgram(this.#context, program);
			if (status === undefined) throw new DaemonError("DeadlineExceeded", object, `killed after ${timeoutMs} ms`);
			if (status === 0) return;
			const problem = lastProblem(log) ?? `exit status ${status}`;
			throw new DaemonError(codeOf(problem), object, problem);
		} catch (reason) {
			if (failedWith(reason, "ENOENT")) throw DaemonError.from(reason, object, "FailedPrecondition");
			throw reason;
		} finally {
			rmSync(log, { force: true });
		}
	}

	/** Whether it has this command: a runtime may be built without. */
	async has(command: string, bundle: string): Promise<boolean> {
		const { nothing } = this.#context;
		const descriptors = [nothing, nothing, nothing];
		const program = { file: this.record.file, args: [command, "--help"], descriptors, directory: bundle };
		return (await runProgram(this.#context, { ...program, timeoutMs: helpMs })) === 0;
	}
}

/** In the words of crun and runc: no such container, or one in a state that does not allow it. */
function codeOf(problem: string): ErrorCode {
	if (/does not exist/.test(problem)) return "NotFound";
	return /not running|not paused|already paused|in a (stopped|paused) container|that has stopped/.test(problem)
		? "FailedPrecondition"
		: "Unknown";
}

let number = 0;
const nextNumber = (): number => ++number;

/** The last error that the runtime logged (a JSON object per line; crun and runc name the text `msg`). */
function lastProblem(path: string): string | undefined {
	if (!existsSync(path)) return undefined;
	const problems = readFileSync(path, "utf8")
		.split("\n")
		.flatMap((line) => {
			try {
				const { level, msg } = JSON.parse(line) as { level?: string; msg?: string };
				return msg !== undefined && (level === "error" || level === "fatal" || level === undefined) ? [msg] : [];
			} catch (reason) {
				if (reason instanceof SyntaxError) return line.trim() === "" ? [] : [line.trim()];
				throw reason;
			}
		});
	return problems.at(-1);
}

/** An executable's absolute path; as given if it is one. Undefined if the PATH has none. */
export function findExecutable(name: string, path: string = process.env.PATH ?? ""): string | undefined {
	if (name.includes("/")) return existsSync(name) ? name : undefined;
	return [...path.split(delimiter), "/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
		.filter((directory) => directory !== "")
		.map((directory) => join(directory, name))
		.find((file) => existsSync(file));
}

/** crun refuses a hybrid layout in which v2 still has a controller ("cgroups in hybrid mode not supported"). */
export function crunFits(mounts: string, v2Controllers: (mountPoint: string) => string): boolean {
	const lines = mounts.split("\n").map((line) => line.split(" "));
	const unified = lines.find(([, , type]) => type === "cgroup2")?.[1];
	const hybrid = unified !== undefined && lines.some(([, , type]) => type === "cgroup");
	return !hybrid || v2Controllers(unified).trim() === "";
}

/** The OCI runtime to use when nobody names one: crun where it works, else runc. Undefined if there is neither. */
export function defaultRuntime(): string | undefined {
	const fits = crunFits(readFileSync("/proc/mounts", "utf8"), (mountPoint) =>
		readFileSync(join(mountPoint, "cgroup.controllers"), "utf8"),
	);
	return (fits ? findExecutable("crun") : undefined) ?? findExecutable("runc");
}
