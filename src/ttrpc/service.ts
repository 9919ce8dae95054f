/** A message codec whose type is forgotten: methods are bivariant, so that every generated codec fits. */
interface ErasedCodec {
	encode(message: never): { finish(): Uint8Array };
	decode(input: Uint8Array): unknown;
	fromPartial(object: never): unknown;
}

/** The part of a generated codec that ttrpc uses. */
export interface Codec {
	encode(message: unknown): { finish(): Uint8Array };
	decode(input: Uint8Array): unknown;
	fromPartial(object: unknown): unknown;
}

/** A generated method (ts-proto "generic-definitions"). */
export interface MethodDefinition {
	readonly name: string;
	readonly requestType: ErasedCodec;
	readonly requestStream: boolean;
	readonly responseType: ErasedCodec;
	readonly responseStream: boolean;
}

/** A generated service. On the wire: `fullName` and the method's `name`, not a gRPC path. */
export interface ServiceDefinition {
	readonly fullName: string;
	readonly methods: { readonly [method: string]: MethodDefinition };
}

type MessageOf<C> = C extends { decode(input: Uint8Array): infer Message } ? Message : never;
export type MethodsOf<D extends ServiceDefinition> = D["methods"];
export type RequestOf<M extends MethodDefinition> = MessageOf<M["requestType"]>;
export type ResponseOf<M extends MethodDefinition> = MessageOf<M["responseType"]>;

/** Key of the metadata that carries containerd's namespace on ttrpc; on gRPC it is another (api namespaces/ttrpc.go). */
export const namespaceKey = "containerd-namespace-ttrpc";

export interface Metadata {
	readonly [key: string]: string;
}
