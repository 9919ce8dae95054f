import { DaemonError } from "../errors/daemon-error.ts";

/** For removals: what is gone already, be it by the garbage collector or by another client, is as good as removed. */
export async function unlessMissing(work: () => Promise<unknown>): Promise<void> {
	try {
		await work();
	} catch (error) {
		if (!(error instanceof DaemonError) || error.code !== "NotFound") throw error;
	}
}
