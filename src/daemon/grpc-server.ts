/** Carries transport-neutral services over gRPC. The only file of the daemon that knows grpc-js. */
import {
	Metadata,
	Server,
	ServerCredentials,
	type ServerDuplexStream,
	type ServerReadableStream,
	type ServerUnaryCall,
	type ServerWritableStream,
	type ServiceDefinition,
	type StatusObject,
	type sendUnaryData,
	type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { DaemonError } from "../errors/daemon-error.ts";
import { grpcStatus } from "../errors/error-code.ts";
import type { Log } from "../log/log.ts";
import { Call } from "../services/call.ts";
import type { BoundMethod, Service } from "../services/rpc.ts";
import { listenUnix, type SocketOwner } from "./unix-listener.ts";

/** Bytes of a message at most, either way (containerd: defaults.DefaultMaxRecvMsgSize). */
export const messageLimit = 16 * 1024 * 1024;
/** Bytes a stream may have under way; a unix socket has no distance to cover, but chunks of 1 MiB to carry. */
const flowControlWindow = 4 * 1024 * 1024;

export interface GrpcServer {
	/** Ends streams with Unavailable, lets other calls that are under way end, at most `graceMs`; then cuts them. */
	stop(graceMs: number): Promise<void>;
}

export interface GrpcServerOptions {
	/** Path of the unix socket. */
	readonly address: string;
	readonly owner?: SocketOwner;
	readonly services: readonly Service[];
	readonly log: Log;
}

/** Opens the socket and serves. Errors: FailedPrecondition (a second daemon), InvalidArgument (the path). */
export async function serveGrpc({ address, owner, services, log }: GrpcServerOptions): Promise<GrpcServer> {
	const server = new Server({
		"grpc.max_receive_message_length": messageLimit,
		"grpc.max_send_message_length": messageLimit,
		"grpc-node.flow_control_window": flowControlWindow,
		"grpc.enable_channelz": 0,
	});
	const stopping = new AbortController();
	const wire: Wire = { log, stopping: stopping.signal };
	for (const service of services) server.addService(...adapt(service, wire));
	const connections = server.createConnectionInjector(ServerCredentials.createInsecure());
	const listener = await listenUnix(address, (socket) => connections.injectConnection(socket), owner);
	return {
		async stop(graceMs) {
			await listener.close();
			stopping.abort(new DaemonError("Unavailable", { kind: "socket", id: address }, "the daemon stops"));
			connections.drain(graceMs);
			await new Promise<void>((resolve) => {
				const timer = setTimeout(() => {
					server.forceShutdown();
					resolve();
				}, graceMs);
				server.tryShutdown(() => {
					clearTimeout(timer);
					resolve();
				});
			});
		},
	};
}

/** What every call of a server shares. */
interface Wire {
	readonly log: Log;
	/** Aborted, with the reason, when the server stops. */
	readonly stopping: AbortSignal;
}

const same = (bytes: Buffer): Buffer => bytes;

/** grpc-js carries bytes only: decoding is the service's, so that its errors are ours as well. */
function adapt(service: Service, wire: Wire): [ServiceDefinition, UntypedServiceImplementation] {
	const definition: Record<string, ServiceDefinition[string]> = {};
	const implementation: UntypedServiceImplementation = {};
	for (const method of service.methods) {
		definition[method.name] = {
			path: method.path,
			requestStream: method.requestStream,
			responseStream: method.responseStream,
			requestSerialize: same,
			requestDeserialize: same,
			responseSerialize: same,
			responseDeserialize: same,
		};
		implementation[method.name] = method.responseStream
			? streaming(method, wire)
			: method.requestStream
				? collecting(method, wire)
				: unary(method, wire);
	}
	return [definition, implementation];
}

/** What all four shapes of a grpc-js call have. */
interface WireCall {
	readonly metadata: Metadata;
	getDeadline(): Date | number;
	getPath(): string;
	once(event: "cancelled", listener: () => void): unknown;
}

/** One request, one response. */
const unary =
	(method: BoundMethod, { log }: Wire) =>
	(wire: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>): void => {
		const call = callOf(wire);
		answer(method, call, () => method.handler(method.decodeRequest(wire.request), call)).then(
			(bytes) => respond(null, bytes),
			(reason) => respond(toStatus(reason, method, call, log)),
		);
	};

/** Many requests, one response. */
const collecting =
	(method: BoundMethod, { log }: Wire) =>
	(wire: ServerReadableStream<Buffer, Buffer>, respond: sendUnaryData<Buffer>): void => {
		const call = callOf(wire);
		answer(method, call, () => method.handler(requestsOf(method, wire, call), call)).then(
			(bytes) => respond(null, bytes),
			(reason) => respond(toStatus(reason, method, call, log)),
		);
	};

async function answer(method: BoundMethod, call: Call, run: () => unknown): Promise<Buffer> {
	const response = await orAborted(Promise.resolve().then(run), call.signal);
	return toBuffer(method.encodeResponse(response));
}

/** Many responses, each sent when the one before has left: a slow reader slows the handler down. */
const streaming =
	(method: BoundMethod, { log, stopping }: Wire) =>
	async (wire: ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>): Promise<void> => {
		const call = callOf(wire, stopping);
		let responses: AsyncIterator<unknown> | undefined;
		try {
			const request = method.requestStream
				? requestsOf(method, wire as ServerDuplexStream<Buffer, Buffer>, call)
				: method.decodeRequest((wire as ServerWritableStream<Buffer, Buffer>).request);
			responses = (method.handler(request, call) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
			let next = responses.next();
			// Headers tell the client that the handler runs: who subscribed has missed nothing from here on.
			wire.sendMetadata(new Metadata());
			for (;;) {
				const result = await orAborted(next, call.signal);
				if (result.done === true) break;
				await orAborted(write(wire, toBuffer(method.encodeResponse(result.value))), call.signal);
				next = responses.next();
			}
			wire.end();
		} catch (reason) {
			// The handler's `finally` runs when its pending step settles, which the aborted signal sees to.
			void responses?.return?.()?.catch(() => {});
			wire.emit("error", toStatus(reason, method, call, log));
		}
	};

const write = (wire: { write(bytes: Buffer, callback: (error?: Error | null) => void): boolean }, bytes: Buffer) =>
	new Promise<void>((resolve, reject) => {
		wire.write(bytes, (error) => (error ? reject(error) : resolve()));
	});

async function* requestsOf(
	method: BoundMethod,
	wire: ServerReadableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>,
	call: Call,
): AsyncGenerator<unknown, void, undefined> {
	const chunks = wire.iterator({ destroyOnReturn: false });
	try {
		for await (const bytes of chunks) yield method.decodeRequest(bytes as Buffer);
	} catch (reason) {
		if (call.signal.aborted) throw call.signal.reason;
		throw reason;
	}
}

/** The promise, or the signal's reason if that comes first (a broken connection never calls back). */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
	return new Promise<T>((resolve, reject) => {
		const abort = (): void => reject(signal.reason);
		signal.addEventListener("abort", abort, { once: true });
		promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
		if (signal.aborted) abort();
	});
}

function callOf(wire: WireCall, stopping?: AbortSignal): Call {
	const metadata = new Map<string, string>();
	for (const [name, value] of Object.entries(wire.metadata.getMap()))
		if (typeof value === "string") metadata.set(name, value);
	const until = Number(wire.getDeadline());
	const deadline = Number.isFinite(until) ? until : undefined;
	const abort = new AbortController();
	wire.once("cancelled", () => {
		const late = deadline !== undefined && Date.now() >= deadline;
		const problem = late ? "the deadline has passed" : "the caller has given up";
		abort.abort(new DaemonError(late ? "DeadlineExceeded" : "Canceled", { kind: "call", id: wire.getPath() }, problem));
	});
	const signal = stopping === undefined ? abort.signal : AbortSignal.any([abort.signal, stopping]);
	return new Call({ metadata, deadline, signal });
}

/** The one mapping of errors to gRPC. What is no DaemonError and has no errno is a mistake of ours: logged with its stack. */
function toStatus(reason: unknown, method: BoundMethod, call: Call, log: Log): Partial<StatusObject> & Error {
	const error = DaemonError.from(reason, { kind: "call", id: method.path });
	if (error.code === "Unknown" || error.code === "Internal") log.error({ method: method.path, error }, "call failed");
	else if (!call.signal.aborted)
		log.debug({ method: method.path, code: error.code, problem: error.message }, "call refused");
	return Object.assign(new Error(error.message), { code: grpcStatus[error.code], details: error.message });
}

const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
