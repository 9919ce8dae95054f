/** A typed gRPC client over the generated definitions, for tests. */
import { Client, type ClientReadableStream, credentials, Metadata } from "@grpc/grpc-js";
import { DaemonError } from "../errors/daemon-error.ts";
import { errorCodeOf } from "../errors/error-code.ts";
import type { MessageCodec, ServiceDefinition } from "../services/rpc.ts";

type Request<M> = M extends { requestType: { decode(input: Uint8Array): infer T } } ? T : never;
type Response<M> = M extends { responseType: { decode(input: Uint8Array): infer T } } ? T : never;

export interface ClientCallOptions {
	readonly namespace?: string;
	readonly headers?: Readonly<Record<string, string>>;
	readonly timeoutMs?: number;
	readonly signal?: AbortSignal;
}

export type ServiceClient<D extends ServiceDefinition> = {
	readonly [K in keyof D["methods"]]: D["methods"][K]["requestStream"] extends true
		? (
				requests: AsyncIterable<Request<D["methods"][K]>>,
				options?: ClientCallOptions,
			) => AsyncIterable<Response<D["methods"][K]>>
		: D["methods"][K]["responseStream"] extends true
			? (request: Request<D["methods"][K]>, options?: ClientCallOptions) => AsyncIterable<Response<D["methods"][K]>>
			: (request: Request<D["methods"][K]>, options?: ClientCallOptions) => Promise<Response<D["methods"][K]>>;
};

export interface TestClient extends Disposable {
	service<D extends ServiceDefinition>(definition: D): ServiceClient<D>;
}

export function connectGrpc(address: string): TestClient {
	const channel = new Client(`unix:${address}`, credentials.createInsecure(), {
		"grpc.max_receive_message_length": 16 << 20,
		"grpc.default_authority": "localhost",
	});
	return {
		service: <D extends ServiceDefinition>(definition: D) =>
			Object.fromEntries(
				Object.entries(definition.methods).map(([key, method]) => {
					const path = `/${definition.fullName}/${method.name}`;
					const request = method.requestType as unknown as MessageCodec<unknown>;
					const response = method.responseType as unknown as MessageCodec<unknown>;
					const encode = (message: unknown) => Buffer.from(request.encode(message).finish());
					const decode = (bytes: Buffer) => response.decode(bytes);
					if (method.requestStream)
						return [
							key,
							(requests: AsyncIterable<unknown>, options: ClientCallOptions = {}) => {
								const stream = channel.makeBidiStreamRequest(path, encode, decode, headers(options), deadline(options));
								options.signal?.addEventListener("abort", () => stream.cancel());
								void (async () => {
									for await (const message of requests) stream.write(message);
									stream.end();
								})().catch((error) => stream.destroy(error));
								return answers(stream, path);
							},
						];
					if (method.responseStream)
						return [
							key,
							(message: unknown, options: ClientCallOptions = {}) => {
								const stream = channel.makeServerStreamRequest(
									path,
									encode,
									decode,
									message,
									headers(options),
									deadline(options),
								);
								options.signal?.addEventListener("abort", () => stream.cancel());
								return answers(stream, path);
							},
						];
					return [
						key,
						(message: unknown, options: ClientCallOptions = {}) =>
							new Promise((resolve, reject) => {
								const call = channel.makeUnaryRequest(
									path,
									encode,
									decode,
									message,
									headers(options),
									deadline(options),
									(error, value) => (error ? reject(daemonError(error, path)) : resolve(value)),
								);
								options.signal?.addEventListener("abort", () => call.cancel());
							}),
					];
				}),
			) as unknown as ServiceClient<D>,
		[Symbol.dispose]: () => channel.close(),
	};
}

async function* answers(stream: ClientReadableStream<unknown>, path: string): AsyncGenerator<unknown> {
	try {
		for await (const message of stream) yield message;
	} catch (error) {
		throw daemonError(error, path);
	} finally {
		stream.cancel();
	}
}

function headers({ namespace, headers: more = {} }: ClientCallOptions): Metadata {
	const metadata = new Metadata();
	if (namespace !== undefined) metadata.set("containerd-namespace", namespace);
	for (const [name, value] of Object.entries(more)) metadata.set(name, value);
	return metadata;
}

const deadline = ({ timeoutMs = 10_000 }: ClientCallOptions) => ({ deadline: Date.now() + timeoutMs });

function daemonError(error: unknown, path: string): DaemonError {
	const { code, details } = error as { code?: number; details?: string };
	return new DaemonError(errorCodeOf(code ?? 2), { kind: "call", id: path }, details ?? String(error), {
		cause: error,
	});
}
