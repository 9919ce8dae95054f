import { isAbsolute, join, posix } from "node:path";
import { parse } from "smol-toml";
import { DaemonError } from "../../errors/daemon-error.ts";
import { allCapabilities, type HostCapability, type TlsFiles } from "./registry-host.ts";

/** One host of a hosts.toml, with what the file says and no defaults but the file format's own. */
export interface HostEntry {
	/** Absent for a root entry without `server`: the registry's own host is meant. */
	readonly endpoint?: { readonly scheme: "http" | "https"; readonly host: string; readonly path: string };
	readonly capabilities: ReadonlySet<HostCapability>;
	readonly tls: TlsFiles;
	readonly header: Readonly<Record<string, readonly string[]>>;
	readonly dialTimeoutMs?: number;
}

type Table = Readonly<Record<string, unknown>>;

/**
 * Reads a hosts.toml (containerd docs/hosts.md; core/remotes/docker/config/hosts.go): each `[host."…"]` in the order of
 * the file, and last the `server` with the settings of the file's root. Paths are relative to the file's directory.
 * Errors: InvalidArgument, naming the key.
 */
export function parseHostsFile(text: string, directory: string): readonly HostEntry[] {
	const file = join(directory, "hosts.toml");
	const fail = (problem: string): never => {
		throw new DaemonError("InvalidArgument", { kind: "registry configuration", id: file }, problem);
	};
	const root = parseToml(text, fail);
	const hosts = root.host ?? {};
	if (!isTable(hosts)) return fail("host is not a table");
	const entries = Object.entries(hosts).map(([server, settings]) =>
		isTable(settings)
			? entryOf(server, settings, directory, (problem) => fail(`host ${JSON.stringify(server)}: ${problem}`))
			: fail(`host ${JSON.stringify(server)} is not a table`),
	);
	const server = root.server ?? "";
	if (typeof server !== "string") return fail("server is not a string");
	return [...entries, entryOf(server, root, directory, fail)];
}

function parseToml(text: string, fail: (problem: string) => never): Table {
	try {
		return parse(text);
	} catch (reason) {
		return fail(reason instanceof Error ? reason.message : String(reason));
	}
}

function entryOf(server: string, settings: Table, directory: string, fail: (problem: string) => never): HostEntry {
	const header = headerOf(settings.header, fail);
	const dialTimeoutMs = durationOf(settings.dial_timeout, fail);
	const endpoint = server === "" ? undefined : endpointOf(server, settings.override_path === true, fail);
	return {
		...(endpoint === undefined ? {} : { endpoint }),
		capabilities: capabilitiesOf(settings.capabilities, fail),
		tls: tlsOf(settings, directory, fail),
		header,
		...(dialTimeoutMs === undefined ? {} : { dialTimeoutMs }),
	};
}

/** The API's root is the URL's path and `/v2`, unless it ends so already or `override_path` says that it is the root. */
function endpointOf(server: string, overridePath: boolean, fail: (problem: string) => never): HostEntry["endpoint"] {
	const text = server.startsWith("http") ? server : `https://${server}`;
	const match = /^(https?):\/\/([^/?#@]+)(\/[^?#]*)?$/.exec(text);
	if (match === null) return fail(`${JSON.stringify(server)} is not the URL of a registry`);
	const [, scheme, host = "", path] = match;
	const clean = path === undefined ? "" : posix.normalize(path).replace(/\/$/, "");
	return {
		scheme: scheme === "http" ? "http" : "https",
		host,
		path: overridePath || clean.endsWith("/v2") ? clean : `${clean}/v2`,
	};
}

function capabilitiesOf(value: unknown, fail: (problem: string) => never): ReadonlySet<HostCapability> {
	if (value === undefined) return allCapabilities;
	const names = stringsOf("capabilities", value, fail).map((name) => name.toLowerCase());
	if (names.length === 0) return allCapabilities;
	return new Set(
		names.map((name) =>
			name === "pull" || name === "resolve" || name === "push" ? name : fail(`unknown capability ${name}`),
		),
	);
}

function tlsOf(settings: Table, directory: string, fail: (problem: string) => never): TlsFiles {
	const absolute = (path: string): string => (isAbsolute(path) ? path : join(directory, path));
	const ca = settings.ca;
	const skipVerify = settings.skip_verify;
	if (skipVerify !== undefined && typeof skipVerify !== "boolean") return fail("skip_verify is not true or false");
	return {
		ca: ca === undefined ? [] : (typeof ca === "string" ? [ca] : stringsOf("ca", ca, fail)).map(absolute),
		client: clientOf(settings.client, fail).map(([cert, key]) =>
			key === undefined ? [absolute(cert)] : [absolute(cert), absolute(key)],
		),
		...(skipVerify === undefined ? {} : { skipVerify }),
	};
}

/** A file, a list of files, or a list of pairs of certificate and key. */
function clientOf(value: unknown, fail: (problem: string) => never): TlsFiles["client"] {
	if (value === undefined) return [];
	if (typeof value === "string") return [[value]];
	if (!Array.isArray(value)) return fail("client is neither a file nor a list");
	return value.map((item: unknown) => {
		if (typeof item === "string") return [item];
		const [cert, key, more] = stringsOf("client", item, fail);
		return cert === undefined || key === undefined || more !== undefined
			? fail("client: a pair is a certificate and a key")
			: [cert, key];
	});
}

function headerOf(value: unknown, fail: (problem: string) => never): HostEntry["header"] {
	if (value === undefined) return {};
	if (!isTable(value)) return fail("header is not a table");
	return Object.fromEntries(
		Object.entries(value).map(([name, item]) => [
			name,
			typeof item === "string" ? [item] : stringsOf(`header ${name}`, item, fail),
		]),
	);
}

const unitMs: Readonly<Record<string, number>> = {
	ns: 1e-6,
	us: 1e-3,
	µs: 1e-3,
	μs: 1e-3,
	ms: 1,
	s: 1000,
	m: 60_000,
	h: 3_600_000,
};

/** Go's durations: `300ms`, `1.5h`, `2m45s`. */
function durationOf(value: unknown, fail: (problem: string) => never): number | undefined {
	if (value === undefined || value === "") return undefined;
	if (typeof value !== "string" || !/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|[uµμ]s|ms|s|m|h))+$/.test(value))
		return fail(`dial_timeout: ${JSON.stringify(value)} is not a duration`);
	return [...value.matchAll(/([\d.]+)([a-zµμ]+)/g)].reduce(
		(sum, [, number, unit]) => sum + Number(number) * (unitMs[unit ?? ""] ?? 0),
		0,
	);
}

function stringsOf(name: string, value: unknown, fail: (problem: string) => never): readonly string[] {
	if (Array.isArray(value) && value.every((item): item is string => typeof item === "string")) return value;
	return fail(`${name} is not a list of strings`);
}

const isTable = (value: unknown): value is Table =>
	typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
