/** Calls a service as a client would, with bytes in between but without a transport. */
import { Call, leaseHeader, namespaceHeader } from "./call.ts";
import type { Service, ServiceDefinition } from "./rpc.ts";

type Message<C> = C extends { decode(input: Uint8Array): infer T } ? T : never;

interface Codec {
	encode(message: unknown): { finish(): Uint8Array };
	decode(input: Uint8Array): unknown;
}

export interface DirectCall {
	readonly namespace?: string;
	readonly lease?: string;
	readonly signal?: AbortSignal;
	readonly deadline?: number;
}

/** The second argument of each method: the namespace, or more. */
export type DirectClient<D extends ServiceDefinition> = {
	readonly [K in keyof D["methods"]]: (
		request: D["methods"][K]["requestStream"] extends true
			? AsyncIterable<Message<D["methods"][K]["requestType"]>>
			: Message<D["methods"][K]["requestType"]>,
		call?: string | DirectCall,
	) => D["methods"][K]["responseStream"] extends true
		? AsyncIterableIterator<Message<D["methods"][K]["responseType"]>>
		: Promise<Message<D["methods"][K]["responseType"]>>;
};

export const directClient = <D extends ServiceDefinition>(definition: D, service: Service): DirectClient<D> =>
	Object.fromEntries(
		Object.entries(definition.methods).map(([key, { name, requestType, responseType }]) => {
			const method = service.methods.find((candidate) => candidate.name === name);
			if (method === undefined) throw new Error(`${definition.fullName} has no ${name}`);
			const request = requestType as unknown as Codec;
			const response = responseType as unknown as Codec;
			const sent = (message: unknown) => method.decodeRequest(request.encode(message).finish());
			const received = (message: unknown) => response.decode(method.encodeResponse(message));
			return [
				key,
				(message: unknown, to: string | DirectCall = {}) => {
					const call = callOf(typeof to === "string" ? { namespace: to } : to);
					const input = method.requestStream ? mapped(message as AsyncIterable<unknown>, sent) : sent(message);
					if (method.responseStream) return mapped(method.handler(input, call) as AsyncIterable<unknown>, received);
					return Promise.resolve()
						.then(() => method.handler(input, call))
						.then(received);
				},
			];
		}),
	) as unknown as DirectClient<D>;

async function* mapped(messages: AsyncIterable<unknown>, change: (message: unknown) => unknown) {
	for await (const message of messages) yield change(message);
}

function callOf({ namespace, lease, signal = new AbortController().signal, deadline }: DirectCall): Call {
	const metadata = new Map<string, string>();
	if (namespace !== undefined) metadata.set(namespaceHeader, namespace);
	if (lease !== undefined) metadata.set(leaseHeader, lease);
	return new Call({ metadata, signal, deadline });
}
