import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Registry } from "prom-client";
import { type WebSocket, WebSocketServer } from "ws";
import { DaemonError } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";
import type { Journal } from "../metadata/store/store.ts";
import type { PluginLog } from "../plugin/plugin.ts";
import { type ActorTree, nodeJson, treeJson } from "./actor-tree.ts";
import { lineSink, webSocketSink } from "./frame-sinks.ts";
import { FrameWindow } from "./frame-window.ts";
import { type JsonValue, jsonOf } from "./json-value.ts";
import { livePage } from "./live-page.ts";
import { refusal } from "./request-guard.ts";
import { parseStreamRequest, type StreamRequest } from "./stream-filter.ts";
import { type FrameSink, subscribe } from "./subscription.ts";

export interface StreamServerOptions {
	readonly journal: Journal;
	readonly actors: ActorTree;
	readonly log: Pick<PluginLog, "error">;
	/** Newest journal records kept in memory for live readers. Default 8,192. */
	readonly windowSize?: number;
	/** Readers at once; one more is refused with ResourceExhausted. Default 256. */
	readonly maximumReaders?: number;
	/** Milliseconds a reader may take to empty its buffer. Default 30,000. */
	readonly stallMs?: number;
	/** Milliseconds between pings of WebSockets; one that did not answer the last is cut. Default 30,000. */
	readonly pingMs?: number;
}

export interface StreamServer {
	/** Opens a TCP port: `127.0.0.1:7010`; port 0 takes any. Resolves with the address taken. Only loopback addresses. */
	listen(address: string): Promise<string>;
	/** Serves a connection of a unix socket that somebody else listens on. */
	accept(socket: Socket): void;
	/** Ends every stream and connection. */
	close(): Promise<void>;
}

/** WebSocket subprotocol of the CloudEvents binding (cloudevents/spec, websockets-protocol-binding.md). */
export const subprotocol = "cloudevents.json";

/** Query and headers; nothing here has a body. */
const headersTimeoutMs = 10_000;
const readerMessageLimit = 1024;

/** The live stream and the inspection API over HTTP. */
export function createStreamServer(options: StreamServerOptions): StreamServer {
	const { journal, actors, log, windowSize = 8192, maximumReaders = 256, stallMs = 30_000, pingMs = 30_000 } = options;
	const window = new FrameWindow(journal, windowSize);
	const stopping = new AbortController();
	const readers = new Set<Promise<void>>();
	// Their library takes 2 MB and looks at the event loop all the time: only a daemon that is scraped has it.
	let metrics: Promise<Registry> | undefined;
	const openMetrics = async (): Promise<Registry> => {
		const { daemonMetrics } = await import("./stream-metrics.ts");
		return daemonMetrics({ journal, actors, readers: () => readers.size });
	};
	const webSockets = new WebSocketServer({
		noServer: true,
		maxPayload: readerMessageLimit,
		perMessageDeflate: false,
		handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
	});

	const read = (request: StreamRequest, sink: FrameSink, closed: AbortSignal): void => {
		const signal = AbortSignal.any([closed, stopping.signal]);
		const reader = subscribe({ journal, window, request, sink, stallMs, signal })
			.catch((reason: unknown) => {
				log.error({ error: reason }, "live stream of a reader ended with an error");
				sink.end("stopped");
			})
			.finally(() => readers.delete(reader));
		readers.add(reader);
	};
	const streamRequest = (url: URL): StreamRequest => {
		const request = parseStreamRequest(url.searchParams);
		const object = { kind: "stream parameter", id: "since" };
		if ((request.since ?? 0) > journal.last)
			throw new DaemonError("OutOfRange", object, `${request.since} lies ahead of the newest record, ${journal.last}`);
		if (readers.size >= maximumReaders)
			throw new DaemonError(
				"ResourceExhausted",
				{ kind: "stream", id: url.pathname },
				`${readers.size} readers already`,
			);
		return request;
	};

	const routes: Record<string, (url: URL, response: ServerResponse) => unknown> = {
		"/": (_url, response) => send(response, 200, "text/html; charset=utf-8", livePage),
		"/healthz": (_url, response) => send(response, 200, "text/plain; charset=utf-8", "ok\n"),
		"/metrics": async (_url, response) => {
			metrics ??= openMetrics();
			const registry = await metrics;
			send(response, 200, registry.contentType, await registry.metrics());
		},
		"/v1/actors": (url, response) => {
			const path = url.searchParams.get("path");
			const body = path === null ? { sequence: journal.last, actors: treeJson(actors) } : nodeJson(actors, path);
			sendJson(response, 200, body);
		},
		"/v1/dead-letters": (_url, response) => sendJson(response, 200, actors.deadLetters.map(jsonOf)),
		"/v1/stream": (url, response) => {
			const request = streamRequest(url);
			const closed = new AbortController();
			response.on("close", () => closed.abort());
			response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
			response.flushHeaders();
			read(request, lineSink(response), closed.signal);
		},
	};

	const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
		try {
			const url = checked(request);
			const route = routes[url.pathname];
			if (route === undefined) throw new DaemonError("NotFound", { kind: "path", id: url.pathname }, "not found");
			if (request.method !== "GET")
				throw new DaemonError("Unimplemented", { kind: "path", id: url.pathname }, "only GET");
			await route(url, response);
		} catch (reason) {
			const error = DaemonError.from(reason, { kind: "request", id: request.url ?? "" }, "Internal");
			if (response.headersSent) response.destroy();
			else sendJson(response, httpStatus(error.code), jsonOf({ ...error.toRecord(), message: error.message }));
		}
	};

	const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
		socket.on("error", () => socket.destroy()); // the reader is gone: its subscription ends by the close
		try {
			const url = checked(request);
			if (url.pathname !== "/v1/stream")
				throw new DaemonError("NotFound", { kind: "path", id: url.pathname }, "no WebSocket here");
			const wanted = streamRequest(url);
			webSockets.handleUpgrade(request, socket, head, (webSocket) => {
				const closed = new AbortController();
				webSocket.on("close", () => closed.abort());
				webSocket.on("error", () => webSocket.terminate()); // a reader that breaks the protocol; it has nothing to say
				keepAlive(webSocket, pingMs, closed.signal);
				read(wanted, webSocketSink(webSocket, socket), closed.signal);
			});
		} catch (reason) {
			const { code, message } = DaemonError.from(reason, { kind: "request", id: request.url ?? "" }, "Internal");
			const status = httpStatus(code);
			socket.end(`HTTP/1.1 ${status} ${code}\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n${message}\n`);
		}
	};

	const server = createServer(
		{ headersTimeout: headersTimeoutMs },
		(request, response) => void respond(request, response),
	);
	server.on("upgrade", upgrade);
	server.on("clientError", (_error, socket) => socket.destroy());

	return {
		listen: (address) => listenLoopback(server, address),
		accept: (socket) => void server.emit("connection", socket),
		async close() {
			stopping.abort();
			const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : undefined;
			await Promise.allSettled(readers);
			for (const webSocket of webSockets.clients) webSocket.terminate();
			server.closeAllConnections();
			await closed;
			window.close();
		},
	};
}

/** The request's URL. PermissionDenied for what must not be answered. */
function checked(request: IncomingMessage): URL {
	const why = refusal(request);
	if (why !== undefined) throw new DaemonError("PermissionDenied", { kind: "request", id: request.url ?? "" }, why);
	return new URL(request.url ?? "/", "http://localhost");
}

function listenLoopback(server: ReturnType<typeof createServer>, address: string): Promise<string> {
	const object = { kind: "stream address", id: address };
	const match = /^(127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d{1,5})$/.exec(address);
	if (match?.[1] === undefined)
		throw new DaemonError("InvalidArgument", object, "use a loopback address and a port, such as 127.0.0.1:7010");
	const host = match[1] === "localhost" ? "127.0.0.1" : match[1].replace(/[[\]]/g, "");
	return new Promise((resolve, reject) => {
		server.once("error", (error) => reject(DaemonError.from(error, object, "Unavailable")));
		server.listen(Number(match[2]), host, () => {
			resolve(`${match[1]}:${(server.address() as AddressInfo).port}`);
		});
	});
}

/** Cuts a reader whose machine vanished: without pings its socket would stay open for ever. */
function keepAlive(webSocket: WebSocket, pingMs: number, closed: AbortSignal): void {
	let answered = true;
	webSocket.on("pong", () => {
		answered = true;
	});
	const timer = setInterval(() => {
		if (!answered) return webSocket.terminate();
		answered = false;
		webSocket.ping();
	}, pingMs);
	timer.unref();
	closed.addEventListener("abort", () => clearInterval(timer), { once: true });
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
	response.writeHead(status, {
		"content-type": type,
		"cache-control": "no-store",
		"x-content-type-options": "nosniff",
		"content-security-policy":
			"default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self' ws:",
	});
	response.end(body);
}

const sendJson = (response: ServerResponse, status: number, body: JsonValue): void =>
	send(response, status, "application/json", `${JSON.stringify(body)}\n`);

/** The HTTP status for an error of ours (google.rpc.Code's mapping). */
function httpStatus(code: ErrorCode): number {
	switch (code) {
		case "InvalidArgument":
		case "OutOfRange":
		case "FailedPrecondition":
			return 400;
		case "PermissionDenied":
			return 403;
		case "NotFound":
			return 404;
		case "ResourceExhausted":
			return 429;
		case "Unimplemented":
			return 405;
		case "Unavailable":
			return 503;
		default:
			return 500;
	}
}
