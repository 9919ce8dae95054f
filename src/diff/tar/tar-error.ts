import { DaemonError } from "../../errors/daemon-error.ts";
import type { ErrorCode } from "../../errors/error-code.ts";

/** What is wrong with an archive: InvalidArgument (not a tar, bad header), DataLoss (cut short), Unimplemented. */
export const tarError = (problem: string, code: ErrorCode = "InvalidArgument", id = "tar"): DaemonError =>
	new DaemonError(code, { kind: "layer", id }, problem);
