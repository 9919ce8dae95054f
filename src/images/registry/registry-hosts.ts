import type { HostDirectory } from "./host-directory.ts";
import type { HostEntry } from "./hosts-file.ts";
import { allCapabilities, isLoopback, noTlsFiles, type RegistryHost, splitHostPort } from "./registry-host.ts";

/**
 * The hosts to ask for a registry's content, in order, from its directory or from defaults (core/remotes/docker/config,
 * `ConfigureHosts`). HTTPS, except: `plainHttp` asks for plain HTTP; a loopback registry with a port of its own may
 * speak either, so HTTPS is tried without verification and plain HTTP after it.
 */
export function registryHosts(
	registry: string,
	directory?: HostDirectory,
	{ plainHttp = false }: { readonly plainHttp?: boolean } = {},
): readonly RegistryHost[] {
	const entries = directory?.entries ?? [{ capabilities: allCapabilities, header: {}, tls: noTlsFiles }];
	return entries.map((entry) => {
		const base = entry.endpoint === undefined ? registryItself(registry, entry, plainHttp) : endpointOf(entry);
		const { header, dialTimeoutMs } = entry;
		return { ...base, header, ...(dialTimeoutMs === undefined ? {} : { dialTimeoutMs }) };
	});
}

type Base = Omit<RegistryHost, "header" | "dialTimeoutMs">;

/** An `http` endpoint that has TLS settings prefers TLS (ConfigureHosts does, since 1.6). */
function endpointOf({ endpoint, capabilities, tls }: HostEntry): Base {
	const { scheme, host, path } = endpoint ?? { scheme: "https", host: "", path: "" };
	const { port } = splitHostPort(host);
	const hasTls = tls.ca.length > 0 || tls.client.length > 0 || tls.skipVerify !== undefined;
	const httpFallback = scheme === "http" && hasTls && port !== "80";
	return { scheme: httpFallback ? "https" : scheme, host, path, capabilities, tls, httpFallback };
}

function registryItself(registry: string, { tls }: HostEntry, plainHttp: boolean): Base {
	const base = { path: "/v2", capabilities: allCapabilities, tls, httpFallback: false };
	if (registry === "docker.io") return { ...base, scheme: "https", host: "registry-1.docker.io" };
	if (plainHttp) return { ...base, scheme: "http", host: registry };
	const { port } = splitHostPort(registry);
	if (!isLoopback(registry)) return { ...base, scheme: "https", host: registry };
	if (port === "80") return { ...base, scheme: "http", host: registry };
	const unverified = { ...tls, skipVerify: true };
	return { ...base, tls: unverified, scheme: "https", host: registry, httpFallback: port !== "" && port !== "443" };
}
