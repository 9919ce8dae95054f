import type { StateFact } from "../../machines/process-facts.ts";
import { DaemonError, type ObjectIdentity } from "../../src/errors/daemon-error.ts";
import type { ErrorCode } from "../../src/errors/error-code.ts";
import type { StateResponse } from "../../src/gen/containerd/runtime/task/v3/shim.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { nanosecondsOf } from "./task-events.ts";

/** Codes under which nobody knows what the shim has done: the connection ended, or no answer came. */
const silence: ReadonlySet<ErrorCode> = new Set(["Unavailable", "DeadlineExceeded", "Canceled"]);

/** A failed call to a shim as the fact that a machine knows: an answer that says no, or no answer. */
export function failureOf(reason: unknown, identity: ObjectIdentity) {
	const { code, problem } = DaemonError.from(reason, identity);
	return { type: silence.has(code) ? ("shim.silent" as const) : ("shim.refused" as const), code, problem };
}

export const isNotFound = (reason: unknown): boolean => reason instanceof DaemonError && reason.code === "NotFound";

/** `nowMs`: milliseconds since 1970, for an exit whose time the shim does not know. */
export function stateFactOf(state: StateResponse, knownPid: number, nowMs: number): StateFact {
	const pid = state.pid === 0 ? knownPid : state.pid;
	switch (state.status) {
		case Status.CREATED:
			return { type: "state.created", pid };
		case Status.RUNNING:
		case Status.PAUSING:
			return { type: "state.running", pid };
		case Status.PAUSED:
			return { type: "state.paused", pid };
		case Status.STOPPED: {
			const exitedAt = state.exitedAt === undefined ? now(nowMs) : nanosecondsOf(state.exitedAt);
			return { type: "state.stopped", pid, exitStatus: state.exitStatus, exitedAt, unknown: state.unknown };
		}
		default:
			return { type: "state.silent", problem: "the shim says that it does not know" };
	}
}

/** What a call for the state says when it fails. */
export function noStateOf(reason: unknown, nowMs: number): StateFact {
	if (isNotFound(reason)) return { type: "state.absent", exitedAt: now(nowMs) };
	return { type: "state.silent", problem: String(reason) };
}

export const now = (milliseconds: number): bigint => BigInt(milliseconds) * 1_000_000n;
