import { status } from "@grpc/grpc-js";

/** A call's refusal by its code. */
export const codeOf = (reason: unknown): status =>
	typeof reason === "object" && reason !== null && "code" in reason && typeof reason.code === "number"
		? reason.code
		: status.UNKNOWN;

/** Codes that say "ask again": nobody was there, or nobody knows yet. */
const again: ReadonlySet<status> = new Set([
	status.UNAVAILABLE,
	status.DEADLINE_EXCEEDED,
	status.CANCELLED,
	status.ABORTED,
]);

export const isPassing = (reason: unknown): boolean => again.has(codeOf(reason));

const pauseMs = 50;
export const patienceMs = 90_000;

/** Answers that all clients have got so far: how far the work has come, on a fast machine as on a slow one. */
export const progress = { answers: 0 };

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The answer of an attempt that wants another one, with its reason. */
export class Again {
	readonly reason: unknown;

	constructor(reason: unknown) {
		this.reason = reason;
	}
}

/**
 * What a good client does with a daemon that comes and goes: tries until there is an answer. Passing refusals are tried
 * again by themselves, others reject. Rejects when its patience is over: something is stuck.
 */
export async function persistently<T>(what: string, attempt: () => Promise<T | Again>): Promise<T> {
	let last: unknown = "no answer yet";
	for (const end = Date.now() + patienceMs; Date.now() < end; await pause(pauseMs)) {
		try {
			const result = await attempt();
			if (!(result instanceof Again)) {
				progress.answers++;
				return result;
			}
			last = result.reason;
		} catch (reason) {
			if (!isPassing(reason)) throw new Error(`${what}: ${String(reason)}`, { cause: reason });
			last = reason;
		}
	}
	throw new Error(`${what}: stuck for ${patienceMs} ms; last: ${String(last)}`);
}
