import { type Digest, isDigest } from "../content/digest.ts";
import { DaemonError } from "../errors/daemon-error.ts";

/** What an image name says: where it lives, and which version is meant. */
export interface ImageReference {
	/** Registry host with its port, if it has one: `docker.io`, `localhost:5000`, `[::1]:5000`. */
	readonly host: string;
	/** Path of the repository below the host: `library/alpine`. */
	readonly repository: string;
	readonly tag?: string;
	readonly digest?: Digest;
}

const component = "[a-z0-9]+(?:(?:\\.|_{1,2}|-+)[a-z0-9]+)*";
const repositoryPattern = new RegExp(`^${component}(?:/${component})*$`);
const label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const hostPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const tagPattern = /^\w[\w.-]{0,127}$/;
const longestRepository = 255;

/**
 * Reads a full name, `host/repository[:tag][@digest]`: what stands before the first slash is the host, as containerd's
 * services and `ctr` understand names (pkg/reference). Errors: InvalidArgument.
 */
export function parseReference(name: string): ImageReference {
	const slash = name.indexOf("/");
	if (slash < 0)
		throw invalid(name, "a full name begins with a registry host, such as docker.io/library/alpine:latest");
	return readName(name, name.slice(0, slash), name.slice(slash + 1));
}

/**
 * Reads a name as people type it, by Docker's rules (distribution/reference, normalize.go): without a host it is of
 * docker.io, there without a path of `library`; without tag and digest it is `latest`. Errors: InvalidArgument.
 */
export function normalizeReference(name: string): ImageReference {
	if (/^[a-f0-9]{64}$/.test(name)) throw invalid(name, "64 hex digits are an image id, not a name");
	const slash = name.indexOf("/");
	const first = name.slice(0, Math.max(0, slash));
	const hasHost = slash >= 0 && (/[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first);
	const host = hasHost && first !== "index.docker.io" ? first : "docker.io";
	const path = hasHost ? name.slice(slash + 1) : name;
	const inLibrary = host === "docker.io" && !path.includes("/");
	const reference = readName(name, host, inLibrary ? `library/${path}` : path);
	return reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: "latest" } : reference;
}

/** The full name: what {@link parseReference} reads. */
export function formatReference({ host, repository, tag, digest }: ImageReference): string {
	return `${host}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

function readName(name: string, host: string, path: string): ImageReference {
	const at = path.indexOf("@");
	const digest = at < 0 ? undefined : path.slice(at + 1);
	const tagged = at < 0 ? path : path.slice(0, at);
	const colon = tagged.indexOf(":");
	const tag = colon < 0 ? undefined : tagged.slice(colon + 1);
	const repository = colon < 0 ? tagged : tagged.slice(0, colon);
	if (!hostPattern.test(host)) throw invalid(name, `${JSON.stringify(host)} is not a registry host`);
	if (repository !== repository.toLowerCase()) throw invalid(name, "repository name must be lower-case");
	if (!repositoryPattern.test(repository)) throw invalid(name, `${JSON.stringify(repository)} is not a repository`);
	if (repository.length > longestRepository) throw invalid(name, `repository is longer than ${longestRepository}`);
	if (tag !== undefined && !tagPattern.test(tag)) throw invalid(name, `${JSON.stringify(tag)} is not a tag`);
	if (digest !== undefined && !isDigest(digest)) throw invalid(name, `${JSON.stringify(digest)} is not a digest`);
	return {
		host,
		repository,
		...(tag === undefined ? {} : { tag }),
		...(digest === undefined ? {} : { digest }),
	};
}

const invalid = (name: string, problem: string): DaemonError =>
	new DaemonError("InvalidArgument", { kind: "image", id: name }, `invalid reference: ${problem}`);
