import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { rejectsWith } from "../../content/content-store.test-suite.ts";
import { mediaTypes } from "../media-types.ts";
import { normalizeReference } from "../reference.ts";
import { RegistryClient } from "../registry-client.ts";
import { ImpatientClock, ScriptedRegistry } from "../scripted-registry.test-fixture.ts";
import { certificates } from "./certificates.test-fixture.ts";
import { parseHostsFile } from "./hosts-file.ts";
import { registryHosts } from "./registry-hosts.ts";

const never = new AbortController().signal;

/** A registry with TLS, and a directory with the files that a hosts.toml may name. */
async function secured(t: { after(fn: () => Promise<void>): void }, { wantsClient = false } = {}) {
	const { serverKey: key, serverCert: cert, authority: ca } = certificates;
	const registry = await ScriptedRegistry.start(wantsClient ? { key, cert, ca } : { key, cert });
	t.after(() => registry.stop());
	registry.manifest("lib/app", "1", { schemaVersion: 2 }, mediaTypes.ociManifest);
	const directory = await mkdtemp(join(tmpdir(), "troupe-tls-"));
	t.after(() => rm(directory, { recursive: true }));
	for (const [name, text] of [
		["ca.crt", certificates.authority],
		["client.cert", certificates.clientCert],
		["client.key", certificates.clientKey],
		["both.pem", certificates.clientCert + certificates.clientKey],
		["garbage.pem", "garbage"],
	] as const)
		await writeFile(join(directory, name), text);
	const resolve = async (settings: string): Promise<unknown> => {
		const entries = parseHostsFile(`[host."https://${registry.host}"]\n${settings}`, directory);
		const clock = new ImpatientClock();
		const client = new RegistryClient({
			reference: normalizeReference(`${registry.host}/lib/app:1`),
			hosts: registryHosts("127.0.0.1:1", { path: directory, entries }).slice(0, 1),
			credentials: async () => undefined,
			clock,
			random: () => 0.5,
			stallMs: clock.stallMs,
		});
		try {
			return await client.resolve(never);
		} finally {
			await client.close();
		}
	};
	return { registry, resolve };
}

describe("TLS of a registry host", () => {
	test("a certificate of an unknown authority is not believed, and no plain HTTP is tried", async (t) => {
		const { registry, resolve } = await secured(t);
		await rejectsWith("Unavailable", resolve(""));
		assert.equal(registry.requests.length, 0);
	});

	test("with its authority's certificate it is, and with skip_verify", async (t) => {
		const { resolve } = await secured(t);
		await resolve('ca = "ca.crt"');
		await resolve("skip_verify = true");
	});

	test("a client certificate is shown, from two files or one", async (t) => {
		const { resolve } = await secured(t, { wantsClient: true });
		await rejectsWith("Unavailable", resolve('ca = "ca.crt"'));
		await resolve('ca = "ca.crt"\nclient = [["client.cert", "client.key"]]');
		await resolve('ca = "ca.crt"\nclient = "both.pem"');
	});

	test("a file that is missing or no certificate is a configuration error that names it", async (t) => {
		const { resolve } = await secured(t);
		await rejectsWith("InvalidArgument", resolve('ca = "none.crt"'));
		await assert.rejects(resolve('client = "garbage.pem"'), /garbage\.pem/);
	});
});
