import type { Clock } from "../../../actors/kernel/clock.ts";
import { DaemonError, type ObjectIdentity } from "../../errors/daemon-error.ts";
import { Authorizer } from "./authorizer.ts";
import type { CredentialSource } from "./credentials.ts";
import { type HttpResponse, HttpTransport } from "./http-transport.ts";
import { connectionFailure } from "./registry-failure.ts";
import type { RegistryHost } from "./registry-host.ts";
import { retryDelay, sleep } from "./retry.ts";
import type { TokenTransport } from "./token.ts";

export interface SessionOptions {
	/** What errors are about: the image. */
	readonly object: ObjectIdentity;
	readonly credentials: CredentialSource;
	readonly scopes: readonly string[];
	readonly clock: Clock;
	readonly random: () => number;
	/** Longest silence within an answer, in milliseconds. */
	readonly stallMs: number;
}

export interface SessionRequest {
	readonly method: "GET" | "HEAD";
	readonly url: URL;
	readonly headers: Readonly<Record<string, string>>;
	/** No other host is left if this one fails. */
	readonly lastHost: boolean;
	readonly signal: AbortSignal;
}

const mostRedirects = 10;
const drainBytes = 64 << 10;

/** Requests to the hosts of one registry, with authorization, redirects and repetition. */
export class RegistrySession {
	readonly #options: SessionOptions;
	readonly #authorizer: Authorizer;
	readonly #transports = new Map<RegistryHost, HttpTransport>();

	constructor(options: SessionOptions) {
		this.#options = options;
		this.#authorizer = new Authorizer(options.credentials, () => options.clock.now());
	}

	/**
	 * The answer, whatever its status, after what could be done about 401, 405, 408, 429, 5xx and broken connections.
	 * Errors: Unavailable (no connection), Unauthenticated, PermissionDenied (no token), Canceled.
	 */
	async send(host: RegistryHost, request: SessionRequest): Promise<HttpResponse> {
		const { clock, random } = this.#options;
		const challenged = new Set<string>();
		let { method } = request;
		let before: number | undefined;
		for (let requests = 1; ; requests++) {
			const answer = await this.#attempt(host, { ...request, method });
			const status = answer instanceof DaemonError ? 0 : answer.status;
			if (!(answer instanceof DaemonError)) {
				if (status === 401 && !challenged.has(answer.url.host) && this.#takeChallenge(answer)) {
					challenged.add(answer.url.host);
					await answer.body.dump({ limit: drainBytes });
					continue;
				}
				if (status === 405 && method === "HEAD") {
					method = "GET"; // Some registries know no HEAD for manifests.
					await answer.body.dump({ limit: drainBytes });
					continue;
				}
			}
			const retryAfter = answer instanceof DaemonError ? undefined : headerOf(answer, "retry-after");
			const trouble = { status, requests, again: before === status, lastHost: request.lastHost, retryAfter };
			const delay = mayRepeat(answer) ? retryDelay(trouble, clock.now(), random) : undefined;
			if (delay === undefined) {
				if (answer instanceof DaemonError) throw answer;
				return answer;
			}
			before = status;
			if (!(answer instanceof DaemonError)) await answer.body.dump({ limit: drainBytes });
			await sleep(clock, delay, request.signal);
		}
	}

	/** Ends all connections, also those in use. */
	async close(): Promise<void> {
		await Promise.all([...this.#transports.values()].map((transport) => transport.close()));
	}

	#transportOf(host: RegistryHost): HttpTransport {
		const known = this.#transports.get(host);
		if (known !== undefined) return known;
		const transport = new HttpTransport(host, this.#options.stallMs);
		this.#transports.set(host, transport);
		return transport;
	}

	#takeChallenge(answer: HttpResponse): boolean {
		const value = answer.headers["www-authenticate"] ?? [];
		return this.#authorizer.challenged(answer.url, typeof value === "string" ? [value] : value);
	}

	/** One request and the redirects it meets; what breaks the connection is an answer, too. */
	async #attempt(host: RegistryHost, request: SessionRequest): Promise<HttpResponse | DaemonError> {
		const { object, scopes } = this.#options;
		const transport = this.#transportOf(host);
		let { url, method } = request;
		for (let hop = 0; hop <= mostRedirects; hop++) {
			const authorization = await this.#authorizer.header(url, scopes, this.#tokenTransport(host, request.signal));
			// Another host gets neither the configured headers nor a secret meant for this one.
			const own = url.host === host.host ? { ...host.header } : {};
			const headers = {
				"user-agent": "troupe",
				...own,
				...request.headers,
				...(authorization === undefined ? {} : { authorization }),
			};
			const answer = await transport
				.request({ method, url, headers, signal: request.signal })
				.catch((reason: unknown) => connectionFailure(reason, url, object, request.signal));
			if (answer instanceof DaemonError) {
				if (request.signal.aborted) throw answer;
				return answer;
			}
			const location = redirectOf(answer);
			if (location === undefined) return answer;
			await answer.body.dump({ limit: drainBytes });
			if (answer.status === 303) method = method === "HEAD" ? "HEAD" : "GET";
			url = location;
		}
		throw new DaemonError("Unavailable", object, `stopped after ${mostRedirects} redirects from ${request.url.host}`);
	}

	#tokenTransport(host: RegistryHost, signal: AbortSignal): TokenTransport {
		const { object } = this.#options;
		const transport = this.#transportOf(host);
		return async (request) => {
			const own = request.url.host === host.host ? { ...host.header } : {};
			try {
				return await transport.request({
					...request,
					headers: { "user-agent": "troupe", ...own, ...request.headers },
					signal,
				});
			} catch (reason) {
				throw connectionFailure(reason, request.url, object, signal);
			}
		};
	}
}

export function headerOf(answer: HttpResponse, name: string): string | undefined {
	const value = answer.headers[name];
	return typeof value === "string" ? value : value?.[0];
}

function redirectOf(answer: HttpResponse): URL | undefined {
	if (![301, 302, 303, 307, 308].includes(answer.status)) return undefined;
	const location = URL.parse(headerOf(answer, "location") ?? "", answer.url);
	return location?.protocol === "http:" || location?.protocol === "https:" ? location : undefined;
}

/** A refused connection or an unknown name stays so for longer than anyone waits. */
function mayRepeat(answer: HttpResponse | DaemonError): boolean {
	if (!(answer instanceof DaemonError)) return true;
	const { cause } = answer;
	const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
	return code === "ECONNRESET" || code === "UND_ERR_SOCKET" || code === "EPIPE";
}
