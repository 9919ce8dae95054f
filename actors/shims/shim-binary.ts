import { spawn } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { DeleteResponse } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { type BootstrapAnswer, parseBootstrapAnswer } from "./bootstrap-answer.ts";

/** Where the daemon listens, and what its shims find in their environment. */
export interface ShimSurroundings {
	/** The daemon's gRPC address; its ttrpc address has `.ttrpc` behind it. */
	readonly address: string;
	/** The daemon's own binary, for shims that publish through it. */
	readonly publishBinary: string;
	readonly environment: Readonly<Record<string, string>>;
	/** How long one run of a shim binary may take, in milliseconds. */
	readonly timeoutMs: number;
}

export interface ShimRun {
	/** Path of the binary. */
	readonly binary: string;
	readonly namespace: string;
	readonly id: string;
	/** Working directory. */
	readonly bundle: string;
	readonly signal?: AbortSignal | undefined;
}

export interface BuriedTask {
	readonly exitStatus: number;
	/** Nanoseconds since 1970; undefined if the shim does not say. */
	readonly exitedAt: bigint | undefined;
	/** The shim could not be asked. */
	readonly unknown?: boolean;
}

/** Answers are small; a shim that prints more is broken. */
const maximumOutput = 1 << 20;
const afterExitMs = 250;

/** Starts a shim (containerd's runtime/v2/binary.go, shim/util.go). `options`: a marshalled Any, or nothing. */
export async function startShim(
	run: ShimRun,
	options: Uint8Array,
	surroundings: ShimSurroundings,
): Promise<BootstrapAnswer> {
	return parseBootstrapAnswer(await runShim(run, ["start"], options, surroundings), run.binary);
}

/** Starts the standby of our own shards, unless one runs. */
export async function startStandby(run: ShimRun, surroundings: ShimSurroundings): Promise<void> {
	await runShim(run, ["standby"], new Uint8Array(), surroundings);
}

/** Has a shim binary remove what a dead shim has left: the runtime's state and the mounts. It works without a socket. */
export async function deleteShim(run: ShimRun, surroundings: ShimSurroundings): Promise<BuriedTask> {
	const output = await runShim(run, ["-bundle", run.bundle, "delete"], new Uint8Array(), surroundings);
	const { exitStatus, exitedAt } = DeleteResponse.decode(output);
	return {
		exitStatus,
		exitedAt: exitedAt === undefined ? undefined : exitedAt.seconds * 1_000_000_000n + BigInt(exitedAt.nanos),
	};
}

function runShim(
	{ binary, namespace, id, bundle, signal }: ShimRun,
	action: readonly string[],
	input: Uint8Array,
	{ address, publishBinary, environment, timeoutMs }: ShimSurroundings,
): Promise<Uint8Array> {
	const words = ["-namespace", namespace, "-address", address, "-publish-binary", publishBinary, "-id", id, ...action];
	const env = {
		...process.env,
		GOMAXPROCS: "2",
		MAX_SHIM_VERSION: "2",
		TTRPC_ADDRESS: `${address}.ttrpc`,
		GRPC_ADDRESS: address,
		NAMESPACE: namespace,
		...environment,
	};
	const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
	const identity = { kind: "shim", namespace, id: `${binary} ${action.at(-1)}` };
	const limit = AbortSignal.timeout(timeoutMs);
	const child = spawn(binary, words, {
		cwd: bundle,
		env,
		detached: true, // its own process group: a signal to the daemon's does not reach it
		stdio: ["pipe", "pipe", "pipe"],
		signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
		killSignal: "SIGKILL",
	});
	const output = collect(child.stdout);
	const complaints = collect(child.stderr);
	child.on("error", (error) => {
		const late = limit.aborted ? `no answer within ${timeoutMs} ms` : undefined;
		if (late !== undefined) reject(new DaemonError("DeadlineExceeded", identity, late));
		else reject(DaemonError.from(error, identity));
	});
	// The answer ends with its pipe. A shim that stays and keeps the pipe open has said all when its starter has ended.
	child.on("exit", () => setTimeout(() => child.stdout.destroy(), afterExitMs).unref());
	child.on("exit", () => setTimeout(() => child.stderr.destroy(), afterExitMs).unref());
	child.on("close", (code, killer) => {
		const told = Buffer.concat(complaints).toString("utf8").trim().slice(0, 2_000);
		if (code === 0) resolve(Buffer.concat(output));
		else
			reject(
				new DaemonError(killer === null ? "Unknown" : "Unavailable", identity, `ended with ${code ?? killer}: ${told}`),
			);
	});
	child.stdin.on("error", () => {}); // a shim need not read its options: its answer says what it thinks of them
	child.stdin.end(input);
	return promise;
}

function collect(stream: NodeJS.ReadableStream): Buffer[] {
	const chunks: Buffer[] = [];
	let length = 0;
	stream.on("data", (chunk: Buffer) => {
		length += chunk.length;
		if (length <= maximumOutput) chunks.push(chunk);
	});
	stream.on("error", () => {}); // a broken pipe is an end of the answer, which is then judged
	return chunks;
}

const runtimeName = /^(?:[a-z0-9]+\.)*([a-z0-9]+)\.([a-z0-9]+)$/i;

/**
 * The binary of a runtime: an absolute path as it is; `io.containerd.NAME.VERSION` is `containerd-shim-NAME-VERSION` on PATH,
 * else beside the daemon. InvalidArgument for what is no name, NotFound if there is no such file.
 */
export async function findShimBinary(
	runtime: string,
	daemonBinary: string,
	path = process.env.PATH ?? "",
): Promise<string> {
	const identity = { kind: "runtime", id: runtime };
	const [, name, version] = runtimeName.exec(runtime) ?? [];
	if (!isAbsolute(runtime) && (name === undefined || version === undefined))
		throw new DaemonError("InvalidArgument", identity, "a runtime is <domain>.<name>.<version> or an absolute path");
	const file = `containerd-shim-${name}-${version}`;
	const places = isAbsolute(runtime)
		? [runtime]
		: [...path.split(delimiter).filter(isAbsolute), dirname(daemonBinary)].map((folder) => join(folder, file));
	for (const place of places) if (await isExecutable(place)) return place;
	throw new DaemonError("NotFound", identity, isAbsolute(runtime) ? "no such file" : `no ${file} on PATH`);
}

const isExecutable = (file: string): Promise<boolean> =>
	access(file, constants.X_OK).then(
		() => true,
		() => false,
	);
