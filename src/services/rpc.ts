/**
 * Services without a transport: handlers typed from the generated definitions. src/daemon/grpc-server.ts and
 * src/daemon/ttrpc-server.ts carry them over the wire; tests call them directly.
 */
import { DaemonError } from "../errors/daemon-error.ts";
import type { Call } from "./call.ts";

/** What the generated code knows about a message: its codec. */
export interface MessageCodec<T> {
	encode(message: T): { finish(): Uint8Array };
	decode(input: Uint8Array): T;
}

/** One method of a generated definition (ts-proto "generic-definitions"). */
export interface MethodDefinition<Request = unknown, Response = unknown> {
	readonly name: string;
	readonly requestType: MessageCodec<Request>;
	readonly requestStream: boolean;
	readonly responseType: MessageCodec<Response>;
	readonly responseStream: boolean;
}

/** One service of a generated definition. */
export interface ServiceDefinition {
	readonly name: string;
	/** `containerd.services.leases.v1.Leases` */
	readonly fullName: string;
	readonly methods: { readonly [method: string]: ErasedMethodDefinition };
}

/** A method whose message types are forgotten: methods are bivariant, so that every generated codec fits. */
interface ErasedMethodDefinition {
	readonly name: string;
	readonly requestType: { encode(message: never): { finish(): Uint8Array }; decode(input: Uint8Array): unknown };
	readonly requestStream: boolean;
	readonly responseType: { encode(message: never): { finish(): Uint8Array }; decode(input: Uint8Array): unknown };
	readonly responseStream: boolean;
}

type MessageOf<Codec> = Codec extends { decode(input: Uint8Array): infer Message } ? Message : never;
type RequestOf<Method extends ErasedMethodDefinition> = Method["requestStream"] extends true
	? AsyncIterable<MessageOf<Method["requestType"]>>
	: MessageOf<Method["requestType"]>;
type ResponseOf<Method extends ErasedMethodDefinition> = Method["responseStream"] extends true
	? AsyncIterable<MessageOf<Method["responseType"]>>
	: Promise<MessageOf<Method["responseType"]>>;

/** One method's behaviour. Throws DaemonError; ends early when `call.signal` is aborted. */
export type Handler<Method extends ErasedMethodDefinition> = (
	request: RequestOf<Method>,
	call: Call,
) => ResponseOf<Method>;

/** A handler for each method of a service: none can be forgotten. */
export type Handlers<Definition extends ServiceDefinition> = {
	readonly [Method in keyof Definition["methods"]]: Handler<Definition["methods"][Method]> | NotThereYet;
};

/** Stands for a method that this daemon does not have: it answers Unimplemented with this text. */
export interface NotThereYet {
	readonly notThereYet: string;
}

/** Marks a method as not built. `why` is a sentence for the caller; docs/not-there-yet.md lists the method. */
export const notThereYet = (why: string): NotThereYet => ({ notThereYet: why });

/** A handler whose message types are forgotten, as a transport sees it. */
export type ErasedHandler = (request: unknown, call: Call) => Promise<unknown> | AsyncIterable<unknown>;

/** One method, ready for a transport: bytes in, bytes out. */
export interface BoundMethod {
	/** As on the wire: `Create`. */
	readonly name: string;
	/** `/containerd.services.leases.v1.Leases/Create` */
	readonly path: string;
	readonly requestStream: boolean;
	readonly responseStream: boolean;
	/** Throws InvalidArgument for bytes that are not the message. */
	decodeRequest(bytes: Uint8Array): unknown;
	encodeResponse(message: unknown): Uint8Array;
	readonly handler: ErasedHandler;
	/** Whether the handler only answers Unimplemented. */
	readonly built: boolean;
}

/** A service with its behaviour, ready for a transport. */
export interface Service {
	/** `containerd.services.leases.v1.Leases` */
	readonly fullName: string;
	readonly methods: readonly BoundMethod[];
}

/** Binds handlers to their definition. */
export const service = <Definition extends ServiceDefinition>(
	definition: Definition,
	handlers: Handlers<Definition>,
): Service => bind(definition, (method) => handlers[method]);

/** A whole service that is not built: each of its methods answers Unimplemented. */
export const serviceNotThereYet = (definition: ServiceDefinition, why: string): Service =>
	bind(definition, () => notThereYet(why));

function bind(definition: ServiceDefinition, handlerOf: (method: string) => unknown): Service {
	const methods = Object.entries(definition.methods).map(([key, method]): BoundMethod => {
		const path = `/${definition.fullName}/${method.name}`;
		const handler = handlerOf(key);
		return {
			name: method.name,
			path,
			requestStream: method.requestStream,
			responseStream: method.responseStream,
			decodeRequest(bytes) {
				try {
					return method.requestType.decode(bytes);
				} catch (reason) {
					throw DaemonError.from(reason, { kind: "method", id: path }, "InvalidArgument");
				}
			},
			encodeResponse: (message) => method.responseType.encode(message as never).finish(),
			handler: isNotThereYet(handler)
				? refusing(path, handler.notThereYet, method.responseStream)
				: (handler as ErasedHandler),
			built: !isNotThereYet(handler),
		};
	});
	return { fullName: definition.fullName, methods };
}

const isNotThereYet = (handler: unknown): handler is NotThereYet =>
	typeof handler === "object" && handler !== null && "notThereYet" in handler;

const refusing = (path: string, why: string, responseStream: boolean): ErasedHandler => {
	const refuse = (): never => {
		throw new DaemonError("Unimplemented", { kind: "method", id: path }, why);
	};
	if (!responseStream) return async () => refuse();
	return () => ({ [Symbol.asyncIterator]: () => ({ next: async () => refuse() }) });
};
