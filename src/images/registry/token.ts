import { DaemonError } from "../../errors/daemon-error.ts";
import type { ErrorCode } from "../../errors/error-code.ts";
import type { Challenge } from "./challenge.ts";
import { basicHeader, type Credentials } from "./credentials.ts";
import type { HttpResponse } from "./http-transport.ts";

export interface Token {
	readonly value: string;
	/** Milliseconds since 1970. */
	readonly expiresAt: number;
}

/** Sends a request to a token server, with the TLS settings of the host that named it. */
export type TokenTransport = (request: {
	readonly method: "GET" | "POST";
	readonly url: URL;
	readonly headers: Readonly<Record<string, string>>;
	readonly body?: string;
}) => Promise<HttpResponse>;

export interface TokenRequest {
	/** The host that asked for a token. */
	readonly host: string;
	readonly challenge: Challenge;
	readonly scopes: readonly string[];
	readonly credentials: Credentials | undefined;
	readonly overTls: boolean;
	readonly now: () => number;
}

/** A token server that knows no POST says so with one of these (GCR 404, Artifactory 401, ACR 400). */
const postRefusals = new Set([400, 401, 404, 405]);
const longestAnswer = 1 << 20;
/** The shortest life that the token specification allows, and its default. Seconds. */
const defaultLife = 60;

/**
 * Gets a bearer token (distribution/spec/auth/{token,oauth}.md): with a secret by POST, and by GET if that is not known;
 * without one by GET. Errors: Unauthenticated, PermissionDenied, Unavailable.
 */
export async function fetchToken(request: TokenRequest, transport: TokenTransport): Promise<Token> {
	const realm = realmOf(request);
	if (request.credentials === undefined) return await byGet(realm, request, transport);
	const answer = await transport(postOf(realm, request, request.credentials));
	if (!postRefusals.has(answer.status)) return await tokenOf(answer, request);
	await answer.body.dump({ limit: longestAnswer });
	return await byGet(realm, request, transport);
}

function postOf(realm: URL, { challenge, scopes }: TokenRequest, { username, secret }: Credentials) {
	const form = new URLSearchParams({ client_id: "troupe", scope: scopes.join(" ") });
	if (challenge.parameters.service !== undefined) form.set("service", challenge.parameters.service);
	if (username === "") {
		form.set("grant_type", "refresh_token");
		form.set("refresh_token", secret);
	} else {
		form.set("grant_type", "password");
		form.set("username", username);
		form.set("password", secret);
	}
	return {
		method: "POST" as const,
		url: realm,
		headers: { "content-type": "application/x-www-form-urlencoded; charset=utf-8" },
		body: form.toString(),
	};
}

async function byGet(realm: URL, request: TokenRequest, transport: TokenTransport): Promise<Token> {
	const url = new URL(realm);
	const { service } = request.challenge.parameters;
	if (service !== undefined) url.searchParams.append("service", service);
	for (const scope of request.scopes) url.searchParams.append("scope", scope);
	const headers = request.credentials === undefined ? {} : { authorization: basicHeader(request.credentials) };
	return await tokenOf(await transport({ method: "GET", url, headers }), request);
}

async function tokenOf(answer: HttpResponse, request: TokenRequest): Promise<Token> {
	if (answer.status < 200 || answer.status > 299) {
		await answer.body.dump({ limit: longestAnswer });
		throw failure(request, statusCode(answer.status, request), `token request answered ${answer.status}`);
	}
	const fields = parseObject(await readText(answer));
	const value = fields.token || fields.access_token;
	if (typeof value !== "string" || value === "" || /[^\x21-\x7e]/.test(value))
		throw failure(request, "Unavailable", "the token server sent no token");
	const life = typeof fields.expires_in === "number" ? Math.max(defaultLife, fields.expires_in) : defaultLife;
	return { value, expiresAt: request.now() + (life * 1000 * 9) / 10 };
}

/** Someone on the way must not be able to ask for the secret in the clear. */
function realmOf(request: TokenRequest): URL {
	const realm = URL.parse(request.challenge.parameters.realm ?? "");
	if (realm === null || (realm.protocol !== "http:" && realm.protocol !== "https:"))
		throw failure(request, "Unavailable", "the registry's challenge names no usable realm");
	if (request.credentials !== undefined && request.overTls && realm.protocol !== "https:")
		throw failure(request, "PermissionDenied", `would send the secret unencrypted to ${realm.host}`);
	return realm;
}

async function readText(answer: HttpResponse): Promise<string> {
	const chunks: Buffer[] = [];
	let length = 0;
	for await (const chunk of answer.body) {
		length += (chunk as Buffer).length;
		if (length > longestAnswer) break;
		chunks.push(chunk as Buffer);
	}
	return Buffer.concat(chunks).toString("utf8");
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
	try {
		const value: unknown = JSON.parse(text);
		return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
	} catch {
		return {};
	}
}

function statusCode(status: number, { credentials }: TokenRequest): ErrorCode {
	if (status === 401) return credentials === undefined ? "Unauthenticated" : "PermissionDenied";
	return status === 403 ? "PermissionDenied" : "Unavailable";
}

const failure = ({ host, challenge }: TokenRequest, code: ErrorCode, problem: string): DaemonError => {
	const { realm } = challenge.parameters;
	return new DaemonError(code, { kind: "registry", id: host }, `${problem}${realm === undefined ? "" : ` (${realm})`}`);
};
