import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { DaemonError } from "../../errors/daemon-error.ts";
import { silentLog } from "../../log/log.ts";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { grpcServices } from "../../services/plugin-keys.ts";
import type { Service } from "../../services/rpc.ts";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { startDaemon } from "../daemon.ts";
import { daemonPlugins } from "./daemon-plugins.ts";

/** Methods that docs/not-there-yet.md lists, one to a table row: `/service/Method`. */
async function documented(): Promise<string[]> {
	const page = await readFile(new URL("../../../docs/not-there-yet.md", import.meta.url), "utf8");
	return [...page.matchAll(/^\| `(\/[\w.]+\/\w+)` \|/gm)].map(([, path]) => path ?? "").sort();
}

/** All services of a real boot, without its shims' sockets ever being used. */
async function booted(t: TestContext) {
	const folder = await mkdtemp(join(tmpdir(), "troupe-boot-"));
	let services: Service[] = [];
	const spy = plugin({
		key: pluginKey<true>("io.troupe.test.v1.spy"),
		needs: { all: grpcServices },
		start: (_context, { all }) => {
			services = [...all.values()];
			return true as const;
		},
	});
	const address = join(folder, "t.sock");
	const daemon = await startDaemon({
		root: join(folder, "root"),
		state: join(folder, "state"),
		address,
		plugins: [...daemonPlugins, spy],
		configs: new Map([["io.troupe.live.v1.stream", { address: "" }]]),
		log: silentLog,
		kernel: nativeKernel,
	});
	t.after(async () => {
		await daemon.stop();
		await rm(folder, { recursive: true, force: true });
	});
	return { daemon, services, address };
}

test("every plugin starts, and what answers Unimplemented is what docs/not-there-yet.md lists", async (t) => {
	const { daemon, services, address } = await booted(t);
	const problems = daemon
		.plugins()
		.flatMap(({ type, id, outcome }) =>
			outcome.state === "failed" ? [`${type}.${id}: ${outcome.error.message}`] : [],
		);
	assert.deepEqual(problems, []);
	const unbuilt = services.flatMap(({ methods }) => methods.filter(({ built }) => !built)).map(({ path }) => path);
	assert.deepEqual(unbuilt.sort(), await documented());

	// And they do answer so, on the socket.
	const client = new Client(`unix:${address}`, credentials.createInsecure(), { "grpc.default_authority": "localhost" });
	t.after(() => client.close());
	for (const path of unbuilt) {
		const code = await new Promise((resolve) =>
			client.makeUnaryRequest(
				path,
				() => Buffer.alloc(0),
				(bytes) => bytes,
				{},
				new Metadata(),
				{ deadline: Date.now() + 5_000 },
				(error) => resolve(error?.code),
			),
		);
		assert.equal(code, 12, path);
	}
});

test("root and state must not be one directory", async () => {
	await assert.rejects(
		startDaemon({ root: "/x", state: "/x", address: "/tmp/t.sock", plugins: [], log: silentLog, kernel: nativeKernel }),
		(error) => error instanceof DaemonError && error.code === "InvalidArgument",
	);
});
