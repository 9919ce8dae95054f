import type { ServerResponse } from "node:http";
import type { Duplex, Writable } from "node:stream";
import type { WebSocket } from "ws";
import type { FrameSink } from "./subscription.ts";
import { textFrame } from "./websocket-frame.ts";

/** Close codes of RFC 6455, section 7.4.1. */
const closeCodes = { done: 1000, stopped: 1001, behind: 1013 } as const;

/**
 * Writes to the socket below the WebSocket: a frame that is built once can go to every reader as it is. Whole frames
 * only, so that they mix with the control frames that the WebSocket writes itself.
 */
export const webSocketSink = (webSocket: WebSocket, socket: Duplex): FrameSink => ({
	send: (frame) => socket.write(frame.webSocketFrame),
	say: (json) => void socket.write(textFrame(json)),
	drained: () => drained(socket),
	end: (why) => webSocket.close(closeCodes[why], why),
});

/** One JSON document a line: for readers that speak plain HTTP. */
export const lineSink = (response: ServerResponse): FrameSink => ({
	send: (frame) => response.write(`${frame.json}\n`),
	say: (json) => void response.write(`${json}\n`),
	drained: () => drained(response),
	end: () => void response.end(),
});

/** Resolves on `drain`, or when there is nothing left to drain into. */
const drained = (stream: Writable | Duplex): Promise<void> =>
	new Promise((resolve) => {
		if (stream.destroyed || !stream.writableNeedDrain) return resolve();
		const done = (): void => {
			stream.off("drain", done);
			stream.off("close", done);
			resolve();
		};
		stream.on("drain", done);
		stream.on("close", done);
	});
