import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import { TaskDefinition } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { connect } from "../../src/ttrpc/client.ts";
import { mkfifo, namespace, ShimHost, until } from "../integration/shim-host.ts";

const shim = "/usr/bin/containerd-shim-runc-v2";

test("our ttrpc speaks with the Go shim: calls, errors, events", {
	skip: !existsSync(shim) && `${shim} is not installed`,
}, async () => {
	const host = await ShimHost.start();
	const bundle = host.bundle("go", ["sh", "-c", "exit 5"]);
	// The Go shim opens this FIFO for writing and waits for its reader, the daemon.
	const log = openSync(mkfifo(join(bundle, "log")), constants.O_RDWR | constants.O_NONBLOCK);
	const words = ["-namespace", namespace, "-id", "go", "-address", host.address, "start"];
	const running = promisify(execFile)(shim, words, { cwd: bundle, env: host.environment, timeout: 20_000 });
	running.child.stdin?.end();
	const client = await connect((await running).stdout.trim());
	const gone = client.closed;
	const task = client.service(TaskDefinition);
	const call = { namespace, timeoutMs: 20_000 };
	await assert.rejects(task.state({ id: "go" }, call), (error: unknown) => {
		assert.ok(error instanceof DaemonError);
		assert.equal(error.code, "NotFound");
		return true;
	});
	assert.ok((await task.connect({ id: "go" }, call)).shimPid > 1);
	const { pid } = await task.create({ id: "go", bundle }, call);
	const wait = task.wait({ id: "go" }, { namespace });
	await task.start({ id: "go" }, call);
	assert.equal((await wait).exitStatus, 5);
	const deleted = await task.delete({ id: "go" }, call);
	assert.deepEqual([deleted.pid, deleted.exitStatus], [pid, 5]);
	await until("events", () => host.topics("go").length === 4);
	assert.deepEqual([...host.topics("go")].sort(), ["/tasks/create", "/tasks/delete", "/tasks/exit", "/tasks/start"]);
	await task.shutdown({ id: "go", now: true }, call).catch((error: unknown) => {
		assert.equal((error as DaemonError).code, "Unavailable", "it may end before it answers");
	});
	await gone;
	closeSync(log);
	await host.dispose();
});
