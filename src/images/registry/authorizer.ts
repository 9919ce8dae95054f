import { DaemonError } from "../../errors/daemon-error.ts";
import type { Challenge } from "./challenge.ts";
import { parseChallenges } from "./challenge.ts";
import { basicHeader, type CredentialSource, type Credentials } from "./credentials.ts";
import { fetchToken, type Token, type TokenTransport } from "./token.ts";

interface HostState {
	readonly challenge: Challenge;
	/** Tokens by their scopes; one request each, also when many wait for it. */
	readonly tokens: Map<string, Promise<Token>>;
	/** The challenge came over TLS: then secrets go only to a realm with TLS. */
	readonly overTls: boolean;
}

/**
 * Answers the challenges of registry hosts. Nothing is sent before a host asks; what it asked for is remembered, and its
 * tokens until they expire. One per pull, as it holds that pull's credentials.
 */
export class Authorizer {
	readonly #credentials: CredentialSource;
	readonly #now: () => number;
	readonly #hosts = new Map<string, HostState>();

	/** `now`: milliseconds since 1970. */
	constructor(credentials: CredentialSource, now: () => number) {
		this.#credentials = credentials;
		this.#now = now;
	}

	/** The Authorization header for a request; undefined if the host never asked. */
	async header(url: URL, scopes: readonly string[], transport: TokenTransport): Promise<string | undefined> {
		const state = this.#hosts.get(url.host);
		if (state === undefined) return undefined;
		const credentials = await this.#credentials(url.host);
		if (state.challenge.scheme === "bearer")
			return `Bearer ${(await this.#token(url.host, state, scopes, credentials, transport)).value}`;
		if (credentials === undefined) throw refused(url.host, "Unauthenticated", "no basic auth credentials");
		return basicHeader(credentials);
	}

	/** Takes in a 401; false if nothing that the host offers can be met. What was known of the host is forgotten. */
	challenged(url: URL, headers: readonly string[]): boolean {
		const [challenge] = parseChallenges(headers);
		if (challenge === undefined) return false;
		this.#hosts.set(url.host, { challenge, tokens: new Map(), overTls: url.protocol === "https:" });
		return true;
	}

	async #token(
		host: string,
		{ challenge, tokens, overTls }: HostState,
		scopes: readonly string[],
		credentials: Credentials | undefined,
		transport: TokenTransport,
	): Promise<Token> {
		const all = [...new Set([...scopes, ...(challenge.parameters.scope ?? "").split(" ").filter(Boolean)])].toSorted();
		const key = all.join(" ");
		const known = tokens.get(key);
		if (known !== undefined && (await known).expiresAt > this.#now()) return await known;
		const fresh = fetchToken({ host, challenge, scopes: all, credentials, overTls, now: this.#now }, transport);
		tokens.set(key, fresh);
		fresh.catch(() => tokens.delete(key));
		return await fresh;
	}
}

const refused = (host: string, code: "Unauthenticated" | "PermissionDenied", problem: string): DaemonError =>
	new DaemonError(code, { kind: "registry", id: host }, problem);
