import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { isLoopback, type RegistryHost } from "./registry-host.ts";
import { secureContextOf } from "./tls-context.ts";

export interface HttpRequest {
	readonly method: "GET" | "HEAD" | "POST";
	readonly url: URL;
	readonly headers: Readonly<Record<string, string | readonly string[]>>;
	readonly body?: string;
	readonly signal: AbortSignal;
}

export interface HttpResponse {
	readonly status: number;
	/** Names are lower-case. */
	readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
	/** Must be read to its end or destroyed. */
	readonly body: Readable & { dump(options?: { limit: number }): Promise<unknown> };
	/** Where the answer came from: plain HTTP, if the server speaks no TLS. */
	readonly url: URL;
}

const defaultDialMs = 30_000;
/** From the request to the answer's headers. */
const headersMs = 60_000;
/** Memory for bytes that arrived and were not taken yet, per answer. */
const bodyBufferBytes = 1 << 20;

/** Sends single requests; one per registry host configuration, with the host's TLS settings and its connections. */
export class HttpTransport {
	readonly #host: RegistryHost;
	readonly #bodyTimeoutMs: number;
	#dispatcher: Promise<Dispatcher> | undefined;
	/** Origins that turned out not to speak TLS. */
	readonly #plain = new Set<string>();

	/** `bodyTimeoutMs`: the longest silence within an answer. */
	constructor(host: RegistryHost, bodyTimeoutMs: number) {
		this.#host = host;
		this.#bodyTimeoutMs = bodyTimeoutMs;
	}

	/** One request, one answer; redirects and refusals are the caller's. Rejects as undici does. */
	async request(request: HttpRequest): Promise<HttpResponse> {
		const plainUrl = this.#host.httpFallback && request.url.host === this.#host.host ? plain(request.url) : undefined;
		if (plainUrl === undefined) return await this.#send(request, request.url);
		if (this.#plain.has(request.url.host)) return await this.#send(request, plainUrl);
		try {
			return await this.#send(request, request.url);
		} catch (reason) {
			if (!speaksNoTls(reason)) throw reason;
			this.#plain.add(request.url.host);
			return await this.#send(request, plainUrl);
		}
	}

	async close(): Promise<void> {
		await (await this.#dispatcher)?.destroy();
	}

	async #send({ method, headers, body, signal }: HttpRequest, url: URL): Promise<HttpResponse> {
		this.#dispatcher ??= this.#connect();
		const dispatcher = await this.#dispatcher;
		const answer = await dispatcher.request({
			origin: url.origin,
			path: `${url.pathname}${url.search}`,
			method,
			headers: Object.fromEntries(
				Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? value : [...value]]),
			),
			signal,
			highWaterMark: bodyBufferBytes,
			...(body === undefined ? {} : { body }),
		});
		// A body that is destroyed unread reports that as an error, to whoever listens; without a listener it would be uncaught.
		answer.body.on("error", () => undefined);
		return { status: answer.statusCode, headers: answer.headers, body: answer.body, url };
	}

	async #connect(): Promise<Dispatcher> {
		// A daemon that pulls nothing has no need of its code.
		const { Agent, EnvHttpProxyAgent } = await import("undici");
		const { tls, host, dialTimeoutMs = defaultDialMs } = this.#host;
		const connect = {
			timeout: dialTimeoutMs,
			secureContext: await secureContextOf(tls),
			rejectUnauthorized: tls.skipVerify !== true,
		};
		const options = { connect, headersTimeout: headersMs, bodyTimeout: this.#bodyTimeoutMs, maxHeaderSize: 64 << 10 };
		const { http_proxy, HTTP_PROXY, https_proxy, HTTPS_PROXY } = process.env;
		const hasProxy = [http_proxy, HTTP_PROXY, https_proxy, HTTPS_PROXY].some((value) => (value ?? "") !== "");
		return hasProxy && !isLoopback(host)
			? new EnvHttpProxyAgent({ ...options, requestTls: connect })
			: new Agent(options);
	}
}

function plain(url: URL): URL {
	const changed = new URL(url);
	changed.protocol = "http:";
	return changed;
}

/** What a TLS client sees of a server that answers in plain text, or hangs up at a handshake it does not understand. */
function speaksNoTls(reason: unknown): boolean {
	if (!(reason instanceof Error)) return false;
	const { code = "" } = reason as NodeJS.ErrnoException;
	return (
		/^(EPROTO|ERR_SSL_WRONG_VERSION_NUMBER|ERR_SSL_PACKET_LENGTH_TOO_LONG|ERR_SSL_HTTP_REQUEST)$/.test(code) ||
		reason.message.includes("before secure TLS connection was established")
	);
}
