import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { DaemonError } from "../../errors/daemon-error.ts";
import { IntrospectionDefinition } from "../../gen/containerd/services/introspection/v1/introspection.ts";
import type { PluginStatus } from "../../plugin/plugin.ts";
import { directClient } from "../direct-client.test-fixture.ts";
import { introspectionService } from "./introspection.service.ts";
import { serverIdentity } from "./server-identity.ts";

const overlayfs: PluginStatus = {
	type: "io.containerd.snapshotter.v1",
	id: "overlayfs",
	requires: ["io.containerd.metadata.v1.rocksdb"],
	exports: { root: "/r" },
	capabilities: ["rebase"],
	outcome: { state: "ok" },
};
const nothing = { requires: [], exports: {}, capabilities: [] };
const leases: PluginStatus = {
	...nothing,
	type: "io.containerd.grpc.v1",
	id: "leases",
	outcome: {
		state: "failed",
		error: new DaemonError("FailedPrecondition", { kind: "plugin", id: "x" }, "no disk"),
	},
};
const native: PluginStatus = {
	...nothing,
	type: "io.containerd.snapshotter.v1",
	id: "native",
	outcome: { state: "skipped", reason: "off by default" },
};
const identity = { uuid: "u", pid: 7, pidNamespace: 4026531836n };
const client = directClient(
	IntrospectionDefinition,
	introspectionService(() => [overlayfs, leases, native], identity),
);

test("plugins are told by type and id, with what they need and why they failed", async () => {
	const { plugins } = await client.plugins({ filters: [] });
	assert.partialDeepStrictEqual(plugins, [
		{
			type: "io.containerd.snapshotter.v1",
			id: "overlayfs",
			requires: ["io.containerd.metadata.v1.rocksdb"],
			exports: { root: "/r" },
			capabilities: ["rebase"],
			initErr: undefined,
		},
		{ type: "io.containerd.grpc.v1", id: "leases", initErr: { code: 9, message: "no disk" } },
		{ id: "native", initErr: { code: 12, message: "off by default" } },
	]);
	assert.equal(plugins[0]?.platforms[0]?.os, "linux");
});

test("plugins are filtered by type, id and capability", async () => {
	for (const filter of ["type==io.containerd.snapshotter.v1,id!=native", "id==overlayfs", "capabilities~=rebase"]) {
		const { plugins } = await client.plugins({ filters: [filter] });
		assert.deepEqual(
			plugins.map(({ id }) => id),
			["overlayfs"],
			filter,
		);
	}
});

test("one plugin is told by name; unknown ones are NotFound, options are not there yet", async () => {
	const known = { type: "io.containerd.snapshotter.v1", id: "overlayfs", options: undefined };
	assert.equal((await client.pluginInfo(known)).plugin?.id, "overlayfs");
	await assert.rejects(client.pluginInfo({ ...known, id: "nope" }), { code: "NotFound" });
	await assert.rejects(client.pluginInfo({ ...known, options: { typeUrl: "x", value: new Uint8Array([1]) } }), {
		code: "Unimplemented",
	});
});

test("the server tells uuid, pid and pid namespace; the uuid outlives a restart", async (t) => {
	const folder = await mkdtemp(join(tmpdir(), "troupe-uuid-"));
	t.after(() => rm(folder, { recursive: true }));
	assert.deepEqual(await client.server({}), { uuid: "u", pid: 7n, pidns: 4026531836n, deprecations: [] });
	const file = join(folder, "deep", "uuid");
	const first = await serverIdentity(file);
	assert.match(first.uuid, /^[0-9a-f-]{36}$/);
	assert.equal((await serverIdentity(file)).uuid, first.uuid);
	assert.ok(first.pidNamespace > 0n);
});
