import { closeSync, existsSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DaemonError, type ObjectIdentity } from "../src/errors/daemon-error.ts";
import { findExecutable, type OciRuntime } from "./oci-runtime.ts";
import { type ProgramContext, runProgram } from "./program.ts";

const checkMs = 10_000;

/** Throws FailedPrecondition where there is no criu. */
export function requireCriu(object: ObjectIdentity): void {
	if (findExecutable("criu") === undefined)
		throw new DaemonError("FailedPrecondition", object, "checkpoint and restore need criu, which is not installed");
}

/**
 * Why a checkpoint or a restore has failed. FailedPrecondition if it could not have worked here: the OCI runtime was built
 * without criu (Debian's crun), or criu does not know this kernel. Asked afterwards, because `criu check` may find fault
 * with a kernel that is good enough. Otherwise the reason with the last error of criu's log in `workPath`.
 */
export async function explainFailure(
	reason: unknown,
	object: ObjectIdentity,
	{ runtime, bundle, workPath }: { readonly runtime: OciRuntime; readonly bundle: string; readonly workPath: string },
	context: ProgramContext,
): Promise<DaemonError> {
	const error = DaemonError.from(reason, object);
	if (error.code !== "Unknown") return error;
	const refuse = (problem: string) => new DaemonError("FailedPrecondition", object, problem, { cause: reason });
	if (!(await runtime.has("checkpoint", bundle))) return refuse(`${runtime.record.file} was built without criu`);
	const fault = await criuFault(bundle, context);
	if (fault !== undefined) return refuse(`criu does not work on this host: ${fault}`);
	const told = ["dump.log", "restore.log"].flatMap((name) => lastError(join(workPath, name)) ?? []).at(-1);
	return told === undefined
		? error
		: new DaemonError("Unknown", object, `${error.problem}: ${told}`, { cause: reason });
}

/** What `criu check` complains of first; undefined if nothing. */
async function criuFault(bundle: string, context: ProgramContext): Promise<string | undefined> {
	const file = findExecutable("criu");
	if (file === undefined) return "not installed";
	const path = join(bundle, ".criu-check.log");
	const output = openSync(path, "w", 0o600);
	try {
		const descriptors = [context.nothing, output, output];
		const program = { file, args: ["check"], descriptors, directory: bundle, timeoutMs: checkMs };
		const status = await runProgram(context, program);
		if (status === 0) return undefined;
		const [first = `criu check ended with ${status}`] = errorsIn(path);
		return first;
	} finally {
		closeSync(output);
		rmSync(path, { force: true });
	}
}

const lastError = (path: string): string | undefined => (existsSync(path) ? errorsIn(path).at(-1) : undefined);

/** criu's log: `(00.013536) Error (criu/vdso.c:613): vdso: …` */
const errorsIn = (path: string): readonly string[] =>
	readFileSync(path, "utf8")
		.split("\n")
		.filter((line) => /\bError \(/.test(line))
		.map((line) => line.replace(/^\([\d.]+\)\s*/, "").trim());
