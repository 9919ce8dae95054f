import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../../actors/kernel/clock.ts";
import type { Descriptor } from "../content/descriptor.ts";
import { type Digest, digestOf } from "../content/digest.ts";
import { mediaTypes } from "./media-types.ts";

export interface SeenRequest {
	readonly method: string;
	readonly path: string;
	readonly query: URLSearchParams;
	readonly headers: IncomingMessage["headers"];
	readonly body: string;
}

/** Answers a request itself, or leaves it to the registry by returning false. */
export type Fault = (request: SeenRequest, response: ServerResponse) => boolean;

interface Stored {
	readonly mediaType: string;
	readonly bytes: Buffer;
}

/** A registry on loopback that does what it is told, also wrong. */
export class ScriptedRegistry {
	readonly requests: SeenRequest[] = [];
	readonly #manifests = new Map<string, Stored>();
	readonly #blobs = new Map<Digest, Buffer>();
	readonly #faults: Fault[] = [];
	readonly #sockets = new Set<Socket>();
	readonly #server: ReturnType<typeof createServer>;
	ignoresRange = false;
	host = "";

	private constructor(tls?: { readonly key: string; readonly cert: string; readonly ca?: string }) {
		const listener: RequestListener = (request, response) => void this.#answer(request, response);
		this.#server =
			tls === undefined
				? createServer(listener)
				: createTlsServer({ ...tls, requestCert: tls.ca !== undefined, rejectUnauthorized: true }, listener);
		this.#server.on("connection", (socket: Socket) => {
			this.#sockets.add(socket);
			socket.on("close", () => this.#sockets.delete(socket));
		});
	}

	static async start(tls?: {
		readonly key: string;
		readonly cert: string;
		readonly ca?: string;
	}): Promise<ScriptedRegistry> {
		const registry = new ScriptedRegistry(tls);
		registry.#server.listen(0, "127.0.0.1");
		await once(registry.#server, "listening");
		registry.host = `127.0.0.1:${(registry.#server.address() as AddressInfo).port}`;
		return registry;
	}

	async stop(): Promise<void> {
		for (const socket of this.#sockets) socket.destroy();
		this.#server.close();
		await once(this.#server, "close");
	}

	/** Faults are asked in order; one that answers is used up unless `always`. */
	fault(fault: Fault, { always = false } = {}): void {
		const once: Fault = (request, response) => {
			const answered = fault(request, response);
			if (answered && !always) this.#faults.splice(this.#faults.indexOf(once), 1);
			return answered;
		};
		this.#faults.push(once);
	}

	blob(bytes: Buffer, mediaType: string = mediaTypes.ociLayer): Descriptor {
		const digest = digestOf(bytes);
		this.#blobs.set(digest, bytes);
		return { mediaType, digest, size: bytes.length };
	}

	manifest(repository: string, tag: string | undefined, value: unknown, mediaType: string): Descriptor {
		const bytes = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
		const digest = digestOf(bytes);
		for (const name of [digest, ...(tag === undefined ? [] : [tag])])
			this.#manifests.set(`${repository}/${name}`, { mediaType, bytes });
		return { mediaType, digest, size: bytes.length };
	}

	seen(pattern: RegExp): readonly SeenRequest[] {
		return this.requests.filter(({ method, path }) => pattern.test(`${method} ${path}`));
	}

	async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const chunks: Buffer[] = [];
		for await (const chunk of request) chunks.push(chunk as Buffer);
		const url = new URL(request.url ?? "/", "http://x");
		const seen = {
			method: request.method ?? "",
			path: url.pathname,
			query: url.searchParams,
			headers: request.headers,
			body: Buffer.concat(chunks).toString("utf8"),
		};
		this.requests.push(seen);
		for (const fault of [...this.#faults]) if (fault(seen, response)) return;
		const manifest = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(url.pathname);
		const blob = /^\/v2\/.+\/blobs\/([^/]+)$/.exec(url.pathname);
		const bytes = this.#blobs.get(blob?.[1] ?? "");
		const stored = this.#manifests.get(`${manifest?.[1]}/${manifest?.[2]}`);
		if (stored !== undefined) {
			const headers = { "content-type": stored.mediaType, "docker-content-digest": digestOf(stored.bytes) };
			this.#send(seen, response, stored.bytes, headers);
		} else if (bytes !== undefined) this.#send(seen, response, bytes, { "content-type": "application/octet-stream" });
		else if (url.pathname === "/v2/") response.writeHead(200).end();
		else
			response
				.writeHead(404, { "content-type": "application/json" })
				.end('{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}');
	}

	#send(
		{ method, headers }: SeenRequest,
		response: ServerResponse,
		bytes: Buffer,
		fields: Record<string, string>,
	): void {
		const from = this.ignoresRange ? undefined : /^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1];
		const part = bytes.subarray(Number(from ?? 0));
		const range = from === undefined ? {} : { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` };
		response.writeHead(from === undefined ? 200 : 206, { ...fields, ...range, "content-length": part.length });
		response.end(method === "HEAD" ? undefined : part);
	}
}

/** Waits take no time and are noted; the stall timer fires only on demand. */
export class ImpatientClock implements Clock {
	readonly stallMs = 987_654;
	readonly waits: number[] = [];
	#stalls: (() => void)[] = [];
	#monotonic = 0;

	now(): number {
		return Date.now();
	}

	monotonic(): number {
		return this.#monotonic;
	}

	after(ms: number, callback: () => void): () => void {
		if (ms === this.stallMs) {
			this.#stalls.push(callback);
			return () => {
				this.#stalls = this.#stalls.filter((other) => other !== callback);
			};
		}
		this.waits.push(ms);
		const immediate = setImmediate(callback);
		return () => clearImmediate(immediate);
	}

	/** Lets the time pass in which a stalled download is given up. */
	stall(): void {
		this.#monotonic += this.stallMs;
		for (const callback of this.#stalls.splice(0)) callback();
	}
}
