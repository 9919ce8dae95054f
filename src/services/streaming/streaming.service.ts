import { DaemonError } from "../../errors/daemon-error.ts";
import { StreamInit, StreamingDefinition } from "../../gen/containerd/services/streaming/v1/streaming.ts";
import { type Service, service } from "../rpc.ts";
import { decodeAny } from "../wire.ts";
import type { StreamRegistry } from "./stream-registry.ts";

const initTypeUrl = "containerd.services.streaming.v1.StreamInit";
/** The answer that tells the client that its stream is registered and may be named in a transfer. */
const registered = { typeUrl: "google.protobuf.Empty", value: new Uint8Array(0) };

/**
 * Streams that a client opens under an id of its own and then names in another call: progress, credentials, tar data
 * (containerd 2.x: plugins/services/streaming/service.go).
 */
export const streamingService = (streams: StreamRegistry): Service =>
	service(StreamingDefinition, {
		async *stream(requests, call) {
			const incoming = requests[Symbol.asyncIterator]();
			const first = await incoming.next();
			if (first.done === true)
				throw new DaemonError("InvalidArgument", { kind: "stream", id: "" }, "ended before it was named");
			const { id } = decodeAny(StreamInit, initTypeUrl, first.value);
			const stream = streams.open(call.namespace, id, incoming);
			try {
				yield registered;
				yield* stream.outgoing(call.signal);
			} finally {
				stream.close();
			}
		},
	});
