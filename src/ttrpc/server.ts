import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { Request, Response } from "../gen/ttrpc/request.ts";
import { socketPath } from "./address.ts";
import {
	encodeFrame,
	type Frame,
	FrameReader,
	frameFlag,
	frameType,
	maximumData,
	type OversizeFrame,
} from "./frame.ts";
import {
	type Codec,
	type Metadata,
	type MethodsOf,
	namespaceKey,
	type RequestOf,
	type ResponseOf,
	type ServiceDefinition,
} from "./service.ts";
import { statusOf } from "./status.ts";

/** What a handler knows about its call. */
export interface ServerCall {
	readonly method: string;
	readonly metadata: Metadata;
	/** From the metadata; undefined if the caller sent none. */
	readonly namespace?: string;
	/** Milliseconds the caller will wait, counted from the arrival; undefined for ever. */
	readonly timeoutMs?: number;
	/** Aborted when the deadline has passed or the connection has ended. */
	readonly signal: AbortSignal;
}

/** Handlers of a service; a method without one answers Unimplemented. */
export type Handlers<D extends ServiceDefinition> = {
	readonly [M in keyof MethodsOf<D>]?: (
		request: RequestOf<MethodsOf<D>[M]>,
		call: ServerCall,
	) => ResponseOf<MethodsOf<D>[M]> | Promise<ResponseOf<MethodsOf<D>[M]>>;
};

type Method = (payload: Uint8Array, call: ServerCall) => Promise<Uint8Array>;

export interface Implementation {
	readonly service: string;
	readonly methods: ReadonlyMap<string, Method>;
}

/** Joins a generated definition and its handlers. `service` serves it under another name (a version with equal messages). */
export function implementation<const D extends ServiceDefinition>(
	definition: D,
	handlers: Handlers<D>,
	service: string = definition.fullName,
): Implementation {
	const methods = new Map<string, Method>();
	for (const [key, { name, requestType, responseType }] of Object.entries(definition.methods)) {
		const handler = handlers[key] as ((request: unknown, call: ServerCall) => unknown) | undefined;
		if (handler === undefined) continue;
		const request = requestType as unknown as Codec;
		const response = responseType as unknown as Codec;
		methods.set(name, async (payload, call) => {
			const message = decode(request, payload, call.method);
			return response.encode(await handler(message, call)).finish();
		});
	}
	return { service, methods };
}

function decode(codec: Codec, payload: Uint8Array, method: string): unknown {
	try {
		return codec.decode(payload);
	} catch (reason) {
		throw DaemonError.from(reason, { kind: "ttrpc method", id: method }, "InvalidArgument");
	}
}

export interface ServeOptions {
	/** Calls that one connection may have open (a Wait is open for days). Default 4,096. */
	readonly maximumCalls?: number;
	/** Called with each error that is not a refusal a handler meant: for the log. */
	readonly onError?: (error: DaemonError) => void;
	/** Called with each request that has come. */
	readonly onRequest?: () => void;
	/** Permission bits of the socket file. Default 0600. */
	readonly mode?: number;
}

export interface TtrpcServer {
	readonly connections: number;
	/** Stops listening, ends the connections (their calls are aborted), removes the socket file that it made. */
	close(): Promise<void>;
}

/** Bytes of answers that may wait in a connection; above it no more requests are read from it. */
const maximumUnsent = 8 << 20;
const longestTimer = 0x7fff_ffff;

/**
 * Serves on `unix:///path`, a path, or an inherited listening descriptor. The file must not exist: whoever owns the path
 * decides about a stale one.
 */
export async function serve(
	listen: string | { readonly fd: number },
	implementations: readonly Implementation[],
	options: ServeOptions = {},
): Promise<TtrpcServer> {
	const services = new Map(implementations.map(({ service, methods }) => [service, methods]));
	const connections = new Set<Socket>();
	const server = createServer((socket) => {
		connections.add(socket);
		socket.on("close", () => connections.delete(socket));
		new Connection(socket, services, options);
	});
	await listening(server, typeof listen === "string" ? { path: socketPath(listen) } : listen);
	if (typeof listen === "string") chmodSync(socketPath(listen), options.mode ?? 0o600);
	return {
		get connections() {
			return connections.size;
		},
		close: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				for (const socket of connections) socket.destroy();
			}),
	};
}

function listening(server: Server, where: { readonly path: string } | { readonly fd: number }): Promise<void> {
	return new Promise((resolve, reject) => {
		const object = { kind: "ttrpc socket", id: "path" in where ? where.path : `descriptor ${where.fd}` };
		const failed = (error: Error) => reject(DaemonError.from(error, object));
		server.once("error", failed);
		server.listen(where, () => {
			server.off("error", failed);
			server.on("error", () => {}); // accept(2) failing for one peer (EMFILE) must not end the server
			resolve();
		});
	});
}

class Connection {
	readonly #socket: Socket;
	readonly #services: ReadonlyMap<string, ReadonlyMap<string, Method>>;
	readonly #options: ServeOptions;
	readonly #open = new Map<number, AbortController>();
	#lastStream = 0;
	#ended = false;

	constructor(socket: Socket, services: ReadonlyMap<string, ReadonlyMap<string, Method>>, options: ServeOptions) {
		this.#socket = socket;
		this.#services = services;
		this.#options = options;
		const reader = new FrameReader({
			frame: (frame) => this.#request(frame),
			oversize: (frame) => this.#tooLong(frame),
		});
		socket.on("data", (chunk: Buffer) => reader.push(chunk));
		socket.on("drain", () => socket.resume());
		socket.on("error", () => {}); // 'close' follows
		socket.on("close", () => {
			this.#ended = true;
			for (const controller of this.#open.values()) controller.abort();
		});
	}

	#request({ stream, type, flags, data }: Frame): void {
		if (type !== frameType.request) return; // data of a stream whose request was refused
		this.#options.onRequest?.();
		let request: Request;
		try {
			request = Request.decode(data);
		} catch (reason) {
			this.#fail(stream, DaemonError.from(reason, { kind: "ttrpc stream", id: String(stream) }, "InvalidArgument"));
			return;
		}
		const id = `${request.service}/${request.method}`;
		try {
			void this.#run(stream, id, this.#accept(stream, flags, request), request);
		} catch (reason) {
			this.#fail(stream, DaemonError.from(reason, { kind: "ttrpc method", id }));
		}
	}

	/** The method that a request asks for; throws the refusal. */
	#accept(stream: number, flags: number, { service, method }: Request): Method {
		const object = { kind: "ttrpc method", id: `${service}/${method}` };
		const methods = this.#services.get(service);
		if (methods === undefined) throw new DaemonError("Unimplemented", object, "unknown service");
		const accepted = methods.get(method);
		if (accepted === undefined) throw new DaemonError("Unimplemented", object, "not implemented");
		if (flags & frameFlag.remoteOpen) throw new DaemonError("Unimplemented", object, "streams are not supported");
		if (stream % 2 === 0 || stream <= this.#lastStream)
			throw new DaemonError("InvalidArgument", object, `stream ${stream}: a client's streams are odd and rise`);
		if (this.#open.size >= (this.#options.maximumCalls ?? 4_096))
			throw new DaemonError("ResourceExhausted", object, "too many open calls");
		this.#lastStream = stream;
		return accepted;
	}

	async #run(stream: number, id: string, handler: Method, request: Request): Promise<void> {
		const object: ObjectIdentity = { kind: "ttrpc method", id };
		const controller = new AbortController();
		this.#open.set(stream, controller);
		const metadata = Object.fromEntries(request.metadata.map(({ key, value }) => [key.toLowerCase(), value]));
		const namespace = metadata[namespaceKey];
		const timeoutMs = request.timeoutNano > 0n ? Number(request.timeoutNano / 1_000_000n) : undefined;
		const expired =
			timeoutMs !== undefined && timeoutMs <= longestTimer
				? setTimeout(() => {
						this.#open.delete(stream);
						this.#fail(stream, new DaemonError("DeadlineExceeded", object, `not done within ${timeoutMs} ms`));
						controller.abort();
					}, timeoutMs)
				: undefined;
		try {
			const call = {
				method: id,
				metadata,
				signal: controller.signal,
				...(namespace === undefined ? {} : { namespace }),
				...(timeoutMs === undefined ? {} : { timeoutMs }),
			};
			const payload = await handler(request.payload, call);
			if (this.#open.delete(stream)) this.#succeed(stream, object, payload);
		} catch (reason) {
			const error = DaemonError.from(reason, object);
			if (error !== reason) this.#options.onError?.(error);
			if (this.#open.delete(stream)) this.#fail(stream, error);
		} finally {
			clearTimeout(expired);
		}
	}

	#tooLong({ stream, type, length }: OversizeFrame): void {
		if (type !== frameType.request) return;
		const object = { kind: "ttrpc stream", id: String(stream) };
		this.#fail(stream, new DaemonError("ResourceExhausted", object, `request of ${length} bytes is too long`));
	}

	#succeed(stream: number, object: ObjectIdentity, payload: Uint8Array): void {
		const data = Response.encode({ status: undefined, payload }).finish();
		if (data.length > maximumData)
			this.#fail(stream, new DaemonError("ResourceExhausted", object, `answer of ${data.length} bytes is too long`));
		else this.#send(stream, data);
	}

	#fail(stream: number, error: DaemonError): void {
		this.#send(stream, Response.encode({ status: statusOf(error), payload: new Uint8Array(0) }).finish());
	}

	#send(stream: number, data: Uint8Array): void {
		if (this.#ended) return;
		this.#socket.write(encodeFrame({ stream, type: frameType.response, flags: 0, data }));
		if (this.#socket.writableLength > maximumUnsent) this.#socket.pause();
	}
}
