/**
 * The thread that owns the database: a synced batch blocks its thread for the whole fsync, so it is not the event
 * loop's. Requests are answered by id; errors go back as data.
 */
import { parentPort, workerData } from "node:worker_threads";
import { DaemonError } from "../../errors/daemon-error.ts";
import { garbageCollection } from "../../sys/collect-garbage.ts";
import { DurableDatabase } from "./durable-database.ts";
import type { WorkerAnswer, WorkerOptions, WorkerRequest } from "./worker-protocol.ts";

/** Nothing was asked for so long: the garbage of a burst is collected. */
const restMs = 5_000;

const options = workerData as WorkerOptions;
const database = new DurableDatabase(options);
const collect = garbageCollection();
/** This thread's heap is its own: the daemon's collection at rest does not reach it. */
const rest = setTimeout(collect, restMs).unref();
const answer = (message: WorkerAnswer): void => parentPort?.postMessage(message);

function perform(request: WorkerRequest): Promise<unknown> {
	switch (request.type) {
		case "open":
			return database.open((rows) => answer({ type: "entries", rows }));
		case "commit":
			return database.commit(request.changes, request.journal);
		case "read":
			return database.readJournal(request.since, request.until, request.limit);
		case "close":
			return database.close();
	}
}

parentPort?.on("message", ({ id, request }: { id: number; request: WorkerRequest }) => {
	rest.refresh();
	perform(request).then(
		(result) => {
			answer({ type: "done", id, result });
			if (request.type === "close") parentPort?.close();
		},
		(reason: unknown) => {
			const error = DaemonError.from(reason, { kind: "store", id: options.directory }, "Unavailable");
			answer({ type: "failed", id, error: error.toRecord() });
		},
	);
});
