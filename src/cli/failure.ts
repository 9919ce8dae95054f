import { DaemonError } from "../errors/daemon-error.ts";

/** Exit codes of docker, podman and ctr's users: 125 for an own error, 126 and 127 as a shell has them. */
export const exitCodes = { own: 125, cannotExecute: 126, commandNotFound: 127 } as const;

/** Exit code by which a shell says that a program was ended by SIGPIPE. */
export const brokenPipe = 141;

/** Ends a command with an exit code that is not an error of ours: a container's. */
export class ExitWith extends Error {
	readonly code: number;
	constructor(code: number) {
		super(`exit ${code}`);
		this.code = code;
	}
}

/** What troupe prints and how it exits when a command fails: one line that says what, which object, and what to do. */
export function failure(reason: unknown): { readonly line: string; readonly code: number } {
	const error = DaemonError.from(reason, { kind: "command", id: "troupe" });
	const problem = reason instanceof DaemonError && error.object.kind !== "ttrpc method" ? error.message : error.problem;
	const advice = adviceFor(error);
	const line = `${problem}${advice === undefined ? "" : `. ${advice}`}`.replaceAll(/\s*\n\s*/g, "; ");
	return { line: `troupe: ${line}`, code: codeFor(error) };
}

function codeFor({ problem }: DaemonError): number {
	if (
		/executable file `?[^`]*`? ?not found|executable file not found|no such file or directory: unknown$/i.test(problem)
	)
		return exitCodes.commandNotFound;
	if (
		/permission denied.*(exec|start|create)|(exec|starting container).*permission denied|is a directory/i.test(problem)
	)
		return exitCodes.cannotExecute;
	return exitCodes.own;
}

/** What the user can do, where the error does not say it already. */
function adviceFor({ code, object }: DaemonError): string | undefined {
	if (code === "NotFound" && object.kind === "image")
		return `Pull it first (troupe pull ${object.id}), or see what there is: troupe images`;
	if (code === "NotFound" && (object.kind === "container" || object.kind === "task"))
		return "See what there is: troupe ps";
	if (code === "Unavailable" && (object.kind === "container" || object.kind === "task"))
		return "See why: troupe doctor";
	return undefined;
}
