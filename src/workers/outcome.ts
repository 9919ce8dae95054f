import { DaemonError, type ErrorRecord, type ObjectIdentity } from "../errors/daemon-error.ts";

/**
 * What a job answers: errors are data, because an error that a thread throws keeps its message but loses its class and
 * code on the way.
 */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorRecord };

/** Runs a job and puts what it throws into its answer. */
export async function outcomeOf<T>(object: ObjectIdentity, job: () => T | Promise<T>): Promise<Outcome<T>> {
	try {
		return { ok: true, value: await job() };
	} catch (reason) {
		return { ok: false, error: DaemonError.from(reason, object).toRecord() };
	}
}

/** The job's value. Throws its error as a DaemonError. */
export function unwrap<T>(outcome: Outcome<T>): T {
	if (outcome.ok) return outcome.value;
	throw DaemonError.fromRecord(outcome.error);
}
