import type { Readable } from "node:stream";
import type { Clock } from "../../actors/kernel/clock.ts";
import type { Descriptor } from "../content/descriptor.ts";
import { type Digest, digestOf, isDigest, parseDigest } from "../content/digest.ts";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import { largestManifest } from "./image-limits.ts";
import { isIndex, isManifest, isSchema1, manifestAccept } from "./media-types.ts";
import { formatReference, type ImageReference } from "./reference.ts";
import type { CredentialSource } from "./registry/credentials.ts";
import type { HttpResponse } from "./registry/http-transport.ts";
import { connectionFailure, failureOf } from "./registry/registry-failure.ts";
import { type HostCapability, isMirrorOf, noTlsFiles, type RegistryHost } from "./registry/registry-host.ts";
import { headerOf, RegistrySession } from "./registry/registry-session.ts";

export interface RegistryClientOptions {
	readonly reference: ImageReference;
	/** In the order in which they are asked. */
	readonly hosts: readonly RegistryHost[];
	readonly credentials: CredentialSource;
	readonly clock: Clock;
	/** 0 (included) to 1 (excluded); for the jitter of waits. */
	readonly random: () => number;
	/** Longest silence of a server within an answer, in milliseconds. */
	readonly stallMs: number;
}

export interface Resolved {
	readonly descriptor: Descriptor;
	/** The bytes, where the registry did not say the digest without them. */
	readonly content?: Uint8Array;
}

export interface OpenedBlob {
	readonly body: Readable;
	/** Where in the blob the body begins: the offset asked for, or 0 if the server ignores ranges. */
	readonly start: number;
	/** Who sends it. */
	readonly host: string;
}

/**
 * Reads one image repository by the OCI distribution API (distribution-spec, "Pull"), from the hosts that are configured
 * for its registry: the first that answers serves. Errors: NotFound, Unauthenticated, PermissionDenied, Unavailable,
 * Unimplemented (schema 1), Canceled.
 */
export class RegistryClient {
	readonly #options: RegistryClientOptions;
	readonly #session: RegistrySession;
	readonly #object: ObjectIdentity;
	/** Places that descriptors name themselves. */
	readonly #foreign = new Map<string, RegistryHost>();

	constructor(options: RegistryClientOptions) {
		this.#options = options;
		this.#object = { kind: "image", id: formatReference(options.reference) };
		this.#session = new RegistrySession({
			object: this.#object,
			credentials: options.credentials,
			scopes: [`repository:${options.reference.repository}:pull`],
			clock: options.clock,
			random: options.random,
			stallMs: options.stallMs,
		});
	}

	/** Registry and repository, for the label that says where a blob came from. */
	get source(): { readonly registry: string; readonly repository: string } {
		const { host, repository } = this.#options.reference;
		return { registry: host, repository };
	}

	/** What the reference names now. A digest is looked for among the manifests, then among the blobs. */
	async resolve(signal: AbortSignal): Promise<Resolved> {
		const { digest, tag } = this.#options.reference;
		if (digest === undefined) return await this.#resolveAt(`manifests/${tag ?? "latest"}`, undefined, signal);
		try {
			return await this.#resolveAt(`manifests/${digest}`, digest, signal);
		} catch (reason) {
			if (!(reason instanceof DaemonError) || reason.code !== "NotFound") throw reason;
			return await this.#resolveAt(`blobs/${digest}`, digest, signal);
		}
	}

	/**
	 * Opens a blob or manifest at `offset`, from its own URLs if it names some, else from the hosts without those in
	 * `avoid`. The body must be read to its end or destroyed; it is not verified.
	 */
	async open(
		descriptor: Descriptor,
		offset: number,
		signal: AbortSignal,
		avoid: ReadonlySet<string> = new Set(),
	): Promise<OpenedBlob> {
		const failures: DaemonError[] = [];
		for (const { host, url, lastHost } of this.#placesOf(descriptor, avoid)) {
			try {
				return await this.#openAt(host, url, descriptor, offset, lastHost, signal);
			} catch (reason) {
				failures.push(this.#failed(reason, signal));
			}
		}
		throw mostTelling(failures) ?? new DaemonError("NotFound", this.#object, "no host is configured to pull from");
	}

	/** Ends all connections. */
	close(): Promise<void> {
		return this.#session.close();
	}

	#hostsFor(...wanted: readonly HostCapability[]): readonly RegistryHost[] {
		return this.#options.hosts.filter(({ capabilities }) => wanted.every((one) => capabilities.has(one)));
	}

	async #resolveAt(path: string, digest: Digest | undefined, signal: AbortSignal): Promise<Resolved> {
		const hosts = digest === undefined ? this.#hostsFor("pull", "resolve") : this.#hostsFor("pull");
		const failures: DaemonError[] = [];
		for (const [index, host] of hosts.entries()) {
			try {
				return await this.#resolveOn(host, path, digest, index === hosts.length - 1, signal);
			} catch (reason) {
				failures.push(this.#failed(reason, signal));
			}
		}
		throw mostTelling(failures) ?? new DaemonError("NotFound", this.#object, "no host is configured to resolve it");
	}

	async #resolveOn(
		host: RegistryHost,
		path: string,
		expected: Digest | undefined,
		lastHost: boolean,
		signal: AbortSignal,
	): Promise<Resolved> {
		const url = this.#urlOf(host, path);
		const ask = { url, headers: { accept: manifestAccept }, lastHost, signal };
		const head = await this.#session.send(host, { ...ask, method: "HEAD" });
		await this.#assertOk(head);
		head.body.destroy();
		const mediaType = mediaTypeOf(head);
		const digest = expected ?? headerOf(head, "docker-content-digest");
		const size = Number(headerOf(head, "content-length") ?? Number.NaN);
		if (digest !== undefined && !isDigest(digest))
			throw new DaemonError("DataLoss", this.#object, `${host.host} names an invalid digest ${JSON.stringify(digest)}`);
		const isTyped = isManifest(mediaType) || isIndex(mediaType);
		if (digest !== undefined && size > 0 && (isTyped || path.startsWith("blobs/"))) {
			if (size > largestManifest) throw this.#tooLarge(size);
			return { descriptor: { mediaType, digest, size } };
		}
		const answer = await this.#session.send(host, { ...ask, method: "GET" });
		await this.#assertOk(answer);
		const content = await this.#readManifest(answer, signal);
		const found = digestOf(content, expected === undefined ? "sha256" : parseDigest(expected).algorithm);
		if (expected !== undefined && found !== expected)
			throw new DaemonError("DataLoss", this.#object, `${host.host} sent ${found} for ${expected}`);
		return {
			descriptor: { mediaType: sniff(content, mediaTypeOf(answer)), digest: found, size: content.length },
			content,
		};
	}

	async #readManifest(answer: HttpResponse, signal: AbortSignal): Promise<Uint8Array> {
		const chunks: Buffer[] = [];
		let size = 0;
		try {
			for await (const chunk of answer.body) {
				size += (chunk as Buffer).length;
				if (size > largestManifest) throw this.#tooLarge(size);
				chunks.push(chunk as Buffer);
			}
		} catch (reason) {
			throw connectionFailure(reason, answer.url, this.#object, signal);
		}
		return Buffer.concat(chunks);
	}

	#tooLarge(size: number): DaemonError {
		const problem = `rejecting a manifest of ${size} bytes or more, the limit is ${largestManifest}`;
		return new DaemonError("ResourceExhausted", this.#object, problem);
	}

	/** Its own URLs (foreign layers) first, then each host. */
	#placesOf(descriptor: Descriptor, avoid: ReadonlySet<string>) {
		const kind = isManifest(descriptor.mediaType) || isIndex(descriptor.mediaType) ? "manifests" : "blobs";
		const own = (descriptor.urls ?? []).flatMap((text) => {
			const url = URL.parse(text);
			return url?.protocol === "https:" || url?.protocol === "http:" ? [{ host: this.#foreignHost(url), url }] : [];
		});
		const hosts = this.#hostsFor("pull").map((host) => ({
			host,
			url: this.#urlOf(host, `${kind}/${descriptor.digest}`),
		}));
		const places = [...own, ...hosts].filter(({ host }) => !avoid.has(host.host));
		return places.map((place, index) => ({ ...place, lastHost: index === places.length - 1 }));
	}

	/** A place outside the registry: no settings, no secrets. */
	#foreignHost(url: URL): RegistryHost {
		const known = this.#foreign.get(url.origin);
		if (known !== undefined) return known;
		const scheme = url.protocol === "http:" ? "http" : "https";
		const capabilities = new Set<HostCapability>(["pull"]);
		const host = {
			scheme,
			host: url.host,
			path: "",
			capabilities,
			tls: noTlsFiles,
			header: {},
			httpFallback: false,
		} as const;
		this.#foreign.set(url.origin, host);
		return host;
	}

	async #openAt(
		host: RegistryHost,
		url: URL,
		{ mediaType }: Descriptor,
		offset: number,
		lastHost: boolean,
		signal: AbortSignal,
	): Promise<OpenedBlob> {
		const accept = { accept: `${mediaType}, */*`, "accept-encoding": "identity" };
		const ask = { method: "GET" as const, url, lastHost, signal };
		if (offset > 0) {
			const part = await this.#session.send(host, { ...ask, headers: { ...accept, range: `bytes=${offset}-` } });
			if (part.status !== 416) return await this.#opened(host, part, offset);
			part.body.destroy();
		}
		return await this.#opened(host, await this.#session.send(host, { ...ask, headers: accept }), 0);
	}

	async #opened(host: RegistryHost, answer: HttpResponse, offset: number): Promise<OpenedBlob> {
		await this.#assertOk(answer);
		const encoding = headerOf(answer, "content-encoding") ?? "identity";
		const range = headerOf(answer, "content-range");
		const start = answer.status === 206 ? Number(/^bytes (\d+)-/.exec(range ?? "")?.[1] ?? Number.NaN) : 0;
		if (encoding === "identity" && (start === 0 || start === offset))
			return { body: answer.body, start, host: host.host };
		answer.body.destroy();
		const problem =
			encoding === "identity" ? `range ${JSON.stringify(range)} instead of ${offset}` : `encoding ${encoding}`;
		throw new DaemonError("DataLoss", this.#object, `${host.host} answered with ${problem}`);
	}

	async #assertOk(answer: HttpResponse): Promise<void> {
		if (answer.status === 200 || answer.status === 206) return;
		const withSecret = (await this.#options.credentials(answer.url.host)) !== undefined;
		throw await failureOf(answer, this.#object, withSecret);
	}

	/** A failure that another host may not have; the end of everything is thrown. */
	#failed(reason: unknown, signal: AbortSignal): DaemonError {
		if (signal.aborted) throw DaemonError.from(signal.reason, this.#object, "Canceled");
		if (reason instanceof DaemonError) return reason;
		throw reason;
	}

	#urlOf(host: RegistryHost, path: string): URL {
		const { host: registry, repository } = this.#options.reference;
		const url = new URL(`${host.scheme}://${host.host}${host.path}/${repository}/${path}`);
		if (isMirrorOf(host, registry)) url.searchParams.set("ns", registry);
		return url;
	}
}

/** The type without its parameters. */
const mediaTypeOf = (answer: HttpResponse): string =>
	(headerOf(answer, "content-type") ?? "").split(";")[0]?.trim() ?? "";

/** Servers that know no media types send JSON as something vague; the manifest names its own type. */
function sniff(content: Uint8Array, mediaType: string): string {
	if (isManifest(mediaType) || isIndex(mediaType) || (isSchema1(mediaType) && mediaType !== "text/plain"))
		return mediaType;
	try {
		const value = JSON.parse(Buffer.from(content).toString("utf8")) as { mediaType?: unknown } | null;
		return typeof value?.mediaType === "string" ? value.mediaType : mediaType;
	} catch {
		return mediaType;
	}
}

/** The failure that got furthest: a status says more than a connection that was not made. */
function mostTelling(failures: readonly DaemonError[]): DaemonError | undefined {
	const rank = ({ code }: DaemonError): number => (code === "Unavailable" ? 0 : code === "NotFound" ? 1 : 2);
	return failures.toSorted((a, b) => rank(b) - rank(a))[0];
}
