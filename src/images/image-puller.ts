import { createHash, randomBytes } from "node:crypto";
import type { ImageActors } from "../../actors/images/image-actors.ts";
import type { PullState } from "../../actors/images/pull-progress.ts";
import { type Clock, systemClock } from "../../actors/kernel/clock.ts";
import { DaemonError } from "../errors/daemon-error.ts";
import type { Image } from "../metadata/images.ts";
import { formatPlatform, hostPlatform, normalizePlatform, parsePlatform } from "./platform.ts";
import { type ImageReference, parseReference } from "./reference.ts";
import type { CredentialSource, Credentials } from "./registry/credentials.ts";
import { defaultHostDirectories, loadHostDirectory } from "./registry/host-directory.ts";
import { isMirrorOf, type RegistryHost } from "./registry/registry-host.ts";
import { registryHosts } from "./registry/registry-hosts.ts";
import { RegistryClient } from "./registry-client.ts";
import { RegistryRepository } from "./registry-repository.ts";

export interface PullRequest {
	/** `linux/arm64/v8`; default: this machine's. */
	readonly platform?: string | undefined;
	readonly snapshotter: string;
	/** False to fetch content only. */
	readonly unpack: boolean;
	/** For the registry itself; or what to show to each host, mirrors included. */
	readonly credentials?: Credentials | CredentialSource | undefined;
	/** Plain HTTP where no host directory says otherwise. */
	readonly plainHttp?: boolean | undefined;
	/** Where host directories are looked for, first to last; default: the puller's. */
	readonly hostDirectories?: readonly string[] | undefined;
}

export interface ImagePullerParts {
	readonly actors: ImageActors;
	/** Default {@link defaultHostDirectories}. */
	readonly hostDirectories?: readonly string[];
	/** A server that is silent for so long is given up; default 60,000 ms (containerd 2.3 waits 5 min). */
	readonly stallMs?: number;
	readonly clock?: Clock;
	readonly random?: () => number;
	/** Told of a hosts.toml that was set aside. */
	readonly onProblem?: (problem: DaemonError) => void;
}

/** How a reference would be asked for: what `troupe image explain` prints. */
export interface ReferencePlan {
	readonly reference: ImageReference;
	/** The directory that configures the registry. */
	readonly directory?: string;
	/** Why its hosts.toml was set aside. */
	readonly problem?: string;
	/** In the order in which they are asked. */
	readonly hosts: readonly RegistryHost[];
}

/** Pulls images: names and registry configuration here, the work in the actors. One for daemon, CRI and transfer. */
export class ImagePuller {
	readonly #parts: ImagePullerParts;
	readonly #salt = randomBytes(16);
	readonly #sources = new WeakMap<CredentialSource, string>();
	#sourceCount = 0;

	constructor(parts: ImagePullerParts) {
		this.#parts = parts;
	}

	/**
	 * Pulls `reference`, a full name with a tag or digest, under which the image is recorded. A pull of the same under way
	 * is joined. `onProgress` is called now and then at most ten times a second.
	 * Errors: InvalidArgument (name, platform, snapshotter, configuration), NotFound (image, platform), Unauthenticated,
	 * PermissionDenied, Unavailable (registry), DataLoss and FailedPrecondition (wrong bytes), ResourceExhausted (disk full,
	 * limits), Unimplemented (schema 1, encrypted layers), DeadlineExceeded, Canceled.
	 */
	async pull(
		namespace: string,
		reference: string,
		request: PullRequest,
		onProgress?: (state: PullState) => void,
		signal?: AbortSignal,
	): Promise<Image> {
		const parsed = parseReference(reference);
		if (parsed.tag === undefined && parsed.digest === undefined)
			throw new DaemonError("InvalidArgument", { kind: "image", namespace, id: reference }, "needs a tag or a digest");
		const platform = request.platform === undefined ? hostPlatform() : parsePlatform(request.platform);
		return await this.#parts.actors.pull(
			{
				namespace,
				name: reference,
				snapshotter: request.snapshotter,
				unpack: request.unpack,
				variant: this.#variantOf(request),
				openRepository: async () => {
					const { clock = systemClock, stallMs = 60_000, random = Math.random } = this.#parts;
					const { hosts } = await this.explain(reference, request);
					const credentials = credentialSource(request.credentials, hosts, parsed);
					const client = new RegistryClient({ reference: parsed, hosts, credentials, clock, random, stallMs });
					return new RegistryRepository({ client, platform: normalizePlatform(platform), clock, stallMs });
				},
			},
			{ signal, onProgress },
		);
	}

	/** How a full name would be asked for, without asking. Errors: InvalidArgument; what reading the directory throws. */
	async explain(
		name: string,
		{ hostDirectories, plainHttp = false }: Pick<PullRequest, "hostDirectories" | "plainHttp"> = {},
	): Promise<ReferencePlan> {
		const reference = parseReference(name);
		const roots = hostDirectories ?? this.#parts.hostDirectories ?? defaultHostDirectories;
		const directory = await loadHostDirectory(roots, reference.host);
		if (directory?.problem !== undefined) this.#parts.onProblem?.(directory.problem);
		return {
			reference,
			hosts: registryHosts(reference.host, directory, { plainHttp }),
			...(directory === undefined ? {} : { directory: directory.path }),
			...(directory?.problem === undefined ? {} : { problem: directory.problem.message }),
		};
	}

	/** Pulls are joined only by who asks for the same with the same secrets; the secret itself goes into no name. */
	#variantOf({ platform, credentials, plainHttp = false, hostDirectories }: PullRequest): string {
		const parts: string[] = [];
		if (platform !== undefined) parts.push(formatPlatform(parsePlatform(platform)));
		if (plainHttp) parts.push("plain-http");
		if (hostDirectories !== undefined) parts.push(hostDirectories.join(":"));
		if (credentials !== undefined) parts.push(`credentials=${this.#nameOf(credentials)}`);
		return parts.join(" ");
	}

	#nameOf(credentials: Credentials | CredentialSource): string {
		if (typeof credentials !== "function") {
			const { username, secret } = credentials;
			return createHash("sha256")
				.update(this.#salt)
				.update(JSON.stringify([username, secret]))
				.digest("hex")
				.slice(0, 12);
		}
		const known = this.#sources.get(credentials);
		if (known !== undefined) return known;
		const name = `#${++this.#sourceCount}`;
		this.#sources.set(credentials, name);
		return name;
	}
}

/** A secret that was given for an image is for its registry, not for the mirrors that happen to be configured. */
function credentialSource(
	given: Credentials | CredentialSource | undefined,
	hosts: readonly RegistryHost[],
	{ host: registry }: ImageReference,
): CredentialSource {
	if (typeof given === "function") return given;
	const own = new Set(hosts.filter((host) => !isMirrorOf(host, registry)).map(({ host }) => host));
	return async (host) => (own.has(host) ? given : undefined);
}
