import { DaemonError } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";

export const snapshotError = (code: ErrorCode, key: string, problem: string, cause?: unknown): DaemonError =>
	new DaemonError(code, { kind: "snapshot", id: key }, problem, cause === undefined ? {} : { cause });
