import { readFile } from "node:fs/promises";
import { createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { TlsFiles } from "./registry-host.ts";

/** Where distributions keep the system's certificates, in the order in which Go looks (crypto/x509, root_linux.go). */
const systemFiles: readonly string[] = [
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
];

/** Some megabytes of parsed certificates: shared by the pulls of the same time, gone after them. */
let system: WeakRef<SecureContext> | undefined;
let loading: Promise<SecureContext> | undefined;

async function systemContext(): Promise<SecureContext> {
	const loaded = system?.deref();
	if (loaded !== undefined) return loaded;
	loading ??= systemCertificates()
		.then((ca) => {
			const context = createSecureContext({ ca });
			system = new WeakRef(context);
			return context;
		})
		.finally(() => {
			loading = undefined;
		});
	return await loading;
}

/** Trusts the system's certificates and those of `files`, and shows the client certificates of `files`. */
export async function secureContextOf(files: TlsFiles): Promise<SecureContext> {
	if (files.ca.length === 0 && files.client.length === 0) return await systemContext();
	const ca = [...(await systemCertificates()), ...(await Promise.all(files.ca.map(readPem)))];
	const pairs = await Promise.all(
		files.client.map(async ([cert, key = cert]) => ({ cert: await readPem(cert), key: await readPem(key) })),
	);
	try {
		return createSecureContext({ ca, cert: pairs.map(({ cert }) => cert), key: pairs.map(({ key }) => key) });
	} catch (reason) {
		const names = [...files.ca, ...files.client.flat()].join(", ");
		throw DaemonError.from(reason, { kind: "registry configuration", id: names }, "InvalidArgument");
	}
}

/** Bundled with Node where the system has none. */
async function systemCertificates(): Promise<string[]> {
	const { SSL_CERT_FILE } = process.env;
	for (const file of SSL_CERT_FILE === undefined ? systemFiles : [SSL_CERT_FILE]) {
		const text = await readFile(file, "utf8").catch(() => "");
		if (text !== "") return [text];
	}
	return [...rootCertificates];
}

async function readPem(file: string): Promise<string> {
	try {
		return await readFile(file, "utf8");
	} catch (reason) {
		throw DaemonError.from(reason, { kind: "registry configuration", id: file }, "InvalidArgument");
	}
}
