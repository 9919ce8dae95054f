import { createConnection, type Socket } from "node:net";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";
import { Request, Response } from "../gen/ttrpc/request.ts";
import { socketPath } from "./address.ts";
import { encodeFrame, type Frame, FrameReader, frameType, maximumData } from "./frame.ts";
import {
	type Codec,
	type Metadata,
	type MethodsOf,
	namespaceKey,
	type RequestOf,
	type ResponseOf,
	type ServiceDefinition,
} from "./service.ts";
import { errorOf } from "./status.ts";

export interface CallOptions {
	/** Milliseconds until the call fails with DeadlineExceeded, here and (as a hint) at the peer. Default: none. */
	readonly timeoutMs?: number;
	/** Gives the call up with Canceled. ttrpc has no cancel frame: the peer goes on until its timeout. */
	readonly signal?: AbortSignal;
	readonly namespace?: string;
	readonly metadata?: Metadata;
	/** What the call is about: errors carry it. Default: the method. */
	readonly object?: ObjectIdentity;
}

/** A service at the other end; missing fields of a request get their protobuf defaults. */
export type ServiceClient<D extends ServiceDefinition> = {
	readonly [M in keyof MethodsOf<D>]: (
		request: Partial<RequestOf<MethodsOf<D>[M]>>,
		options?: CallOptions,
	) => Promise<ResponseOf<MethodsOf<D>[M]>>;
};

export interface ConnectOptions {
	/** Milliseconds to wait for the connection. Default 5,000. */
	readonly timeoutMs?: number;
	readonly signal?: AbortSignal;
	/** Calls that may be open at once; one more fails with ResourceExhausted. Default 4,096. */
	readonly maximumCalls?: number;
}

/** Bytes that may wait in the socket before further calls are refused: a peer that does not read. */
const maximumUnsent = 16 << 20;
const lastStream = 0xffff_ffff;
/** setTimeout's longest wait; later deadlines (25 days) are left to the peer. */
const longestTimer = 0x7fff_ffff;

interface OpenCall {
	readonly object: ObjectIdentity;
	succeed(payload: Uint8Array): void;
	fail(error: DaemonError): void;
}

/** One connection: calls run side by side, answers come in any order. After a close every call is Unavailable. */
export class TtrpcClient {
	/** Resolves when the connection has ended, for whatever reason: a shim's death notice. */
	readonly closed: Promise<void>;
	readonly #socket: Socket;
	readonly #address: string;
	readonly #maximumCalls: number;
	readonly #calls = new Map<number, OpenCall>();
	#nextStream = 1; // a client's stream ids are odd and rise
	#end: string | undefined;

	/** @internal Use {@link connect}. */
	constructor(socket: Socket, address: string, maximumCalls: number) {
		this.#socket = socket;
		this.#address = address;
		this.#maximumCalls = maximumCalls;
		const reader = new FrameReader({
			frame: (frame) => this.#answer(frame),
			oversize: ({ stream, length }) =>
				this.#take(stream)?.fail(this.#error("ResourceExhausted", stream, `answer of ${length} bytes is too long`)),
		});
		socket.on("data", (chunk: Buffer) => reader.push(chunk));
		socket.on("error", (error) => this.#finish(error.message));
		this.closed = new Promise((resolve) => {
			socket.on("close", () => {
				this.#finish("connection closed");
				resolve();
			});
		});
	}

	/** Calls that wait for an answer. */
	get openCalls(): number {
		return this.#calls.size;
	}

	service<const D extends ServiceDefinition>(definition: D): ServiceClient<D> {
		const methods = Object.entries(definition.methods).map(([key, { name, requestType, responseType }]) => {
			const codec = requestType as unknown as Codec;
			const answer = responseType as unknown as Codec;
			const call = async (request: unknown, options: CallOptions = {}): Promise<unknown> => {
				const payload = codec.encode(codec.fromPartial(request)).finish();
				return answer.decode(await this.call(definition.fullName, name, payload, options));
			};
			return [key, call];
		});
		return Object.fromEntries(methods) as ServiceClient<D>;
	}

	/** One unary call with encoded messages. Rejects with a DaemonError that carries the status' code. */
	call(service: string, method: string, payload: Uint8Array, options: CallOptions = {}): Promise<Uint8Array> {
		const { timeoutMs, signal, object = { kind: "ttrpc method", id: `${service}/${method}` } } = options;
		return new Promise((resolve, reject) => {
			const data = Request.encode({ service, method, payload, ...envelope(options) }).finish();
			this.#admit(data.length, object, options);

			const stream = this.#nextStream;
			this.#nextStream += 2;
			const settle = () => {
				clearTimeout(timer);
				signal?.removeEventListener("abort", abort);
			};
			const call: OpenCall = {
				object,
				succeed: (response) => {
					settle();
					resolve(response);
				},
				fail: (error) => {
					settle();
					reject(error);
				},
			};
			const give = (code: ErrorCode, problem: string) =>
				this.#take(stream)?.fail(new DaemonError(code, object, problem));
			const abort = () => give("Canceled", "canceled by the caller");
			signal?.addEventListener("abort", abort, { once: true });
			const timer =
				timeoutMs === undefined || timeoutMs > longestTimer
					? undefined
					: setTimeout(() => give("DeadlineExceeded", `no answer within ${timeoutMs} ms`), timeoutMs);
			this.#calls.set(stream, call);
			this.#socket.write(encodeFrame({ stream, type: frameType.request, flags: 0, data }));
			if (this.#nextStream > lastStream) this.#finish("stream numbers are used up");
		});
	}

	/** Throws what forbids to send a request now. */
	#admit(length: number, object: ObjectIdentity, { timeoutMs, signal }: CallOptions): void {
		if (signal?.aborted) throw new DaemonError("Canceled", object, "canceled before it was sent");
		if (timeoutMs !== undefined && timeoutMs <= 0)
			throw new DaemonError("DeadlineExceeded", object, "the deadline passed before it was sent");
		if (this.#end !== undefined) throw new DaemonError("Unavailable", object, `${this.#address}: ${this.#end}`);
		if (this.#calls.size >= this.#maximumCalls)
			throw new DaemonError("ResourceExhausted", object, "too many open calls");
		if (this.#socket.writableLength > maximumUnsent)
			throw new DaemonError("ResourceExhausted", object, "the peer does not read");
		if (length > maximumData)
			throw new DaemonError("ResourceExhausted", object, `request of ${length} bytes is too long`);
	}

	/** Ends the connection; open calls fail with Unavailable. */
	close(): void {
		this.#finish("connection closed by this side");
		this.#socket.destroy();
	}

	#answer({ stream, type, data }: Frame): void {
		// An answer that comes after its deadline has no call any more; data frames belong to streams, which we never open.
		if (type !== frameType.response) return;
		const call = this.#take(stream);
		if (call === undefined) return;
		try {
			const { status, payload } = Response.decode(data);
			const error = errorOf(status, call.object);
			if (error === undefined) call.succeed(payload);
			else call.fail(error);
		} catch (reason) {
			call.fail(DaemonError.from(reason, call.object, "Internal"));
		}
	}

	#take(stream: number): OpenCall | undefined {
		const call = this.#calls.get(stream);
		this.#calls.delete(stream);
		return call;
	}

	#error(code: ErrorCode, stream: number, problem: string): DaemonError {
		return new DaemonError(code, { kind: "ttrpc stream", id: `${this.#address}#${stream}` }, problem);
	}

	#finish(reason: string): void {
		this.#end ??= reason;
		for (const stream of [...this.#calls.keys()]) {
			const call = this.#take(stream);
			call?.fail(new DaemonError("Unavailable", call.object, `${this.#address}: ${this.#end}`));
		}
	}
}

const envelope = ({ timeoutMs, namespace, metadata }: CallOptions) => ({
	timeoutNano: timeoutMs === undefined ? 0n : BigInt(Math.ceil(timeoutMs)) * 1_000_000n,
	metadata: Object.entries({
		...(namespace === undefined ? {} : { [namespaceKey]: namespace }),
		...metadata,
	}).map(([key, value]) => ({ key, value })),
});

/** Connects to `unix:///path` or a path. Rejects with Unavailable (nobody listens) or DeadlineExceeded. */
export function connect(address: string, options: ConnectOptions = {}): Promise<TtrpcClient> {
	const { timeoutMs = 5_000, signal, maximumCalls = 4_096 } = options;
	const object = { kind: "ttrpc address", id: address };
	return new Promise((resolve, reject) => {
		if (signal?.aborted) throw new DaemonError("Canceled", object, "canceled before it was dialled");
		const socket = createConnection(socketPath(address));
		const settle = () => {
			clearTimeout(timer);
			signal?.removeEventListener("abort", abort);
			socket.off("error", failed);
		};
		const refuse = (error: DaemonError) => {
			settle();
			socket.on("error", () => {}); // it is being destroyed: nothing more to learn from it
			socket.destroy();
			reject(error);
		};
		const failed = (error: NodeJS.ErrnoException) =>
			refuse(new DaemonError("Unavailable", object, error.message, { cause: error }));
		const abort = () => refuse(new DaemonError("Canceled", object, "canceled by the caller"));
		const timer = setTimeout(
			() => refuse(new DaemonError("DeadlineExceeded", object, `not connected within ${timeoutMs} ms`)),
			timeoutMs,
		);
		signal?.addEventListener("abort", abort, { once: true });
		socket.once("error", failed);
		socket.once("connect", () => {
			settle();
			resolve(new TtrpcClient(socket, address, maximumCalls));
		});
	});
}
