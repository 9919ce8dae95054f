/** One way to reach a registry: where requests go, how they are secured, and what this host may be asked. */
export interface RegistryHost {
	readonly scheme: "http" | "https";
	/** Name or address with the port, if it has one. */
	readonly host: string;
	/** Root of the API on the host, usually `/v2`. */
	readonly path: string;
	readonly capabilities: ReadonlySet<HostCapability>;
	readonly tls: TlsFiles;
	/** Sent with each request to this host. */
	readonly header: Readonly<Record<string, readonly string[]>>;
	/** Milliseconds for a connection to be made; default 30 s. */
	readonly dialTimeoutMs?: number;
	/** HTTPS is tried first, and plain HTTP if the server turns out not to speak TLS. */
	readonly httpFallback: boolean;
}

/** `resolve`: is trusted to say what a tag means. `pull`: serves content by digest. `push`: takes content. */
export type HostCapability = "pull" | "resolve" | "push";

export const allCapabilities: ReadonlySet<HostCapability> = new Set(["pull", "resolve", "push"]);

export interface TlsFiles {
	/** Files of certificates that are trusted besides the system's. */
	readonly ca: readonly string[];
	/** Certificate and key; without a key file the certificate's file holds both. */
	readonly client: readonly (readonly [cert: string, key?: string])[];
	readonly skipVerify?: boolean;
}

export const noTlsFiles: TlsFiles = { ca: [], client: [] };

/** Mirrors are told which registry is meant (`?ns=`); the registry itself is not (remotes/docker/registry.go). */
export const isMirrorOf = (host: RegistryHost, registry: string): boolean =>
	host.host !== registry && !(registry === "docker.io" && host.host === "registry-1.docker.io");

/** This machine, by name or address: the only place where plain HTTP is believed without configuration. */
export function isLoopback(host: string): boolean {
	const name = splitHostPort(host).name;
	return name === "localhost" || name === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

export function splitHostPort(host: string): { readonly name: string; readonly port: string } {
	const bracketed = /^\[([^\]]*)\](?::(\d*))?$/.exec(host);
	if (bracketed !== null) return { name: bracketed[1] ?? "", port: bracketed[2] ?? "" };
	const plain = /^([^:]*):(\d*)$/.exec(host);
	return plain === null ? { name: host, port: "" } : { name: plain[1] ?? "", port: plain[2] ?? "" };
}
