import { DaemonError } from "../errors/daemon-error.ts";
import { EventsDefinition } from "../gen/containerd/services/ttrpc/events/v1/events.ts";
import { Any } from "../gen/google/protobuf/any.ts";
import { toTimestamp } from "../services/wire.ts";
import { connect } from "../ttrpc/client.ts";

export interface Publication {
	/** The daemon's gRPC address; its ttrpc socket is asked. */
	readonly address: string;
	readonly namespace: string;
	readonly topic: string;
	/** A marshalled google.protobuf.Any. */
	readonly event: Uint8Array;
	/** Milliseconds until the daemon must have acknowledged; default 5,000 (containerd: cmd/containerd/command/publish.go). */
	readonly timeoutMs?: number;
}

/**
 * Hands an event to the running daemon, for shims that publish through the daemon's binary. Resolves once the event is
 * durable. Errors: InvalidArgument (the event, the topic), Unavailable (no daemon), DeadlineExceeded.
 */
export async function publish({ address, namespace, topic, event, timeoutMs = 5_000 }: Publication): Promise<void> {
	const envelope = { timestamp: toTimestamp(now()), namespace, topic, event: decode(event) };
	const daemon = await connect(`${address}.ttrpc`, { timeoutMs });
	try {
		await daemon.service(EventsDefinition).forward({ envelope }, { timeoutMs, namespace });
	} finally {
		daemon.close();
	}
}

const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

function decode(event: Uint8Array): Any {
	try {
		return Any.decode(event);
	} catch (reason) {
		throw DaemonError.from(reason, { kind: "event", id: "stdin" }, "InvalidArgument");
	}
}
