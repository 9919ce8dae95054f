import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { DaemonError } from "../errors/daemon-error.ts";
import { errorCodeOf } from "../errors/error-code.ts";
import { StreamInit, StreamingDefinition } from "../gen/containerd/services/streaming/v1/streaming.ts";
import { Any } from "../gen/google/protobuf/any.ts";
import type { Target } from "./target.ts";

/** A stream between client and daemon, named so that another call can write to it (containerd's streaming service). */
export interface NamedStream {
	/** What the daemon sends, until the stream ends. */
	readonly id: string;
	readonly messages: AsyncIterable<Any>;
	send(message: Any): void;
	close(): void;
}

const { stream: method } = StreamingDefinition.methods;
const path = `/${StreamingDefinition.fullName}/${method.name}`;
const encode = (message: Any): Buffer => Buffer.from(Any.encode(message).finish());

/** Opens a stream over gRPC: streams do not go over ttrpc. Resolves when the daemon knows its name. */
export async function openNamedStream(target: Target, id: string): Promise<NamedStream> {
	const client = new Client(`unix://${target.address}`, credentials.createInsecure());
	const metadata = new Metadata();
	metadata.set("containerd-namespace", target.namespace);
	const call = client.makeBidiStreamRequest(path, encode, (bytes) => Any.decode(bytes), metadata);
	let failure: unknown;
	const messages = receive();
	const close = (): void => {
		call.cancel();
		client.close();
	};
	async function* receive(): AsyncGenerator<Any> {
		try {
			for await (const message of call) yield message as Any;
		} catch (reason) {
			failure = reason;
		}
	}
	call.write({
		typeUrl: "containerd.services.streaming.v1.StreamInit",
		value: StreamInit.encode({ id }).finish(),
	});
	const { done } = await messages.next();
	if (done === true) {
		close();
		const { code = 2, details = "ended before it began" } = (failure ?? {}) as { code?: number; details?: string };
		throw new DaemonError(errorCodeOf(code), { kind: "stream", id }, details);
	}
	return { id, messages, send: (message) => void call.write(message), close };
}
