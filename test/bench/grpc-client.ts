import {
	type CallOptions,
	type ClientReadableStream,
	credentials,
	Metadata,
	makeGenericClientConstructor,
} from "@grpc/grpc-js";

/** A message codec as ts-proto generates it. */
interface Codec<T> {
	encode(message: T): { finish(): Uint8Array };
	decode(bytes: Uint8Array): T;
	fromPartial(message: object): T;
}

interface MethodDefinition {
	readonly name: string;
	readonly requestType: unknown;
	readonly requestStream: boolean;
	readonly responseType: unknown;
	readonly responseStream: boolean;
}

interface ServiceDefinition {
	readonly fullName: string;
	readonly methods: Readonly<Record<string, MethodDefinition>>;
}

type MessageOf<C> = C extends { decode(...args: never[]): infer T } ? T : never;
type Partially<T> = T extends Uint8Array | bigint
	? T
	: T extends (infer E)[]
		? Partially<E>[]
		: T extends object
			? { [K in keyof T]?: Partially<T[K]> }
			: T;

export type Client<D extends ServiceDefinition> = {
	[K in keyof D["methods"]]: D["methods"][K]["responseStream"] extends true
		? (
				request: Partially<MessageOf<D["methods"][K]["requestType"]>>,
			) => ClientReadableStream<MessageOf<D["methods"][K]["responseType"]>>
		: (
				request: Partially<MessageOf<D["methods"][K]["requestType"]>>,
				options?: CallOptions,
			) => Promise<MessageOf<D["methods"][K]["responseType"]>>;
};

/**
 * The measuring client: one grpc-js channel to a unix socket, the same for every peer, so that what differs is the
 * server. Unary and server-streaming methods only.
 */
export function connect<D extends ServiceDefinition>(
	socket: string,
	namespace: string,
	definition: D,
	lease = "",
): Client<D> {
	const methods = Object.fromEntries(
		Object.entries(definition.methods).map(([key, method]) => {
			const request = method.requestType as Codec<unknown>;
			const response = method.responseType as Codec<unknown>;
			return [
				key,
				{
					path: `/${definition.fullName}/${method.name}`,
					requestStream: method.requestStream,
					responseStream: method.responseStream,
					requestSerialize: (message: object) => Buffer.from(request.encode(request.fromPartial(message)).finish()),
					requestDeserialize: (bytes: Buffer) => request.decode(bytes),
					responseSerialize: (message: unknown) => Buffer.from(response.encode(message).finish()),
					responseDeserialize: (bytes: Buffer) => response.decode(bytes),
				},
			];
		}),
	);
	const Constructor = makeGenericClientConstructor(methods, definition.fullName);
	const client = new Constructor(`unix://${socket}`, credentials.createInsecure());
	const metadata = new Metadata();
	metadata.set("containerd-namespace", namespace);
	if (lease !== "") metadata.set("containerd-lease", lease);
	const calls: Record<string, unknown> = {};
	for (const [key, method] of Object.entries(definition.methods)) {
		const call = client[key]?.bind(client) as (...args: unknown[]) => unknown;
		calls[key] = method.responseStream
			? (request: object) => call(request, metadata)
			: (request: object, options: CallOptions = {}) =>
					new Promise((resolve, reject) => {
						call(request, metadata, options, (error: Error | null, reply: unknown) =>
							error ? reject(error) : resolve(reply),
						);
					});
	}
	return calls as Client<D>;
}
