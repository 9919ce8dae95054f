import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DeleteResponse } from "../../src/gen/containerd/runtime/task/v2/shim.ts";
import { deleteShim, findShimBinary, startShim } from "./shim-binary.ts";

let directory: string;
before(() => {
	directory = mkdtempSync(join(tmpdir(), "troupe-binary-"));
});
after(() => rmSync(directory, { recursive: true }));

const script = (name: string, text: string): string => {
	const path = join(directory, name);
	writeFileSync(path, `#!/bin/sh\n${text}\n`);
	chmodSync(path, 0o755);
	return path;
};
const runOf = (binary: string) => ({ binary, namespace: "default", id: "web", bundle: directory });
const surroundings = {
	address: "/run/troupe/troupe.sock",
	publishBinary: "/usr/bin/trouped",
	environment: { TROUPE_SHIM_GROUPING: "pod" },
	timeoutMs: 10_000,
};

test("start has the arguments, the directory, the environment and the input that shims expect", async () => {
	const binary = script(
		"containerd-shim-echo-v1",
		'{ echo "$@"; pwd; echo "$TTRPC_ADDRESS $GRPC_ADDRESS $NAMESPACE $MAX_SHIM_VERSION $TROUPE_SHIM_GROUPING"; cat; } > seen\necho a warning >&2\necho unix:///s',
	);
	assert.deepEqual(await startShim(runOf(binary), Buffer.from("options"), surroundings), {
		version: 2,
		address: "unix:///s",
	});
	assert.deepEqual(readFileSync(join(directory, "seen"), "utf8").split("\n"), [
		"-namespace default -address /run/troupe/troupe.sock -publish-binary /usr/bin/trouped -id web start",
		directory,
		"/run/troupe/troupe.sock.ttrpc /run/troupe/troupe.sock default 2 pod",
		"options",
	]);
});

test("a shim that stays and keeps the pipe open has answered when its starter has ended", async () => {
	const binary = script("stays", "sleep 1 &\necho unix:///s");
	const started = performance.now();
	await startShim(runOf(binary), new Uint8Array(), surroundings);
	assert.ok(performance.now() - started < 900);
});

test("a failing start tells what the shim said", async () => {
	const binary = script("fails", "echo no cgroups here >&2\nexit 3");
	await assert.rejects(startShim(runOf(binary), new Uint8Array(), surroundings), {
		code: "Unknown",
		message: /ended with 3: no cgroups here/,
	});
});

test("a start that hangs ends with DeadlineExceeded", async () => {
	const binary = script("hangs", "exec sleep 30");
	await assert.rejects(startShim(runOf(binary), new Uint8Array(), { ...surroundings, timeoutMs: 100 }), {
		code: "DeadlineExceeded",
	});
});

test("delete answers with the exit that the shim prints", async () => {
	const exit = DeleteResponse.fromPartial({ pid: 4, exitStatus: 137, exitedAt: { seconds: 2n, nanos: 5 } });
	writeFileSync(join(directory, "answer"), DeleteResponse.encode(exit).finish());
	const binary = script("deletes", 'echo "$@" > words\ncat answer');
	assert.deepEqual(await deleteShim(runOf(binary), surroundings), { exitStatus: 137, exitedAt: 2_000_000_005n });
	assert.match(readFileSync(join(directory, "words"), "utf8"), / -bundle .* delete$/m);
});

test("a runtime's name is a binary on PATH, else beside the daemon; a path is a path", async () => {
	const binary = script("containerd-shim-kata-v2", "");
	assert.equal(await findShimBinary("io.containerd.kata.v2", "/usr/bin/trouped", `/nowhere:${directory}`), binary);
	assert.equal(await findShimBinary("io.containerd.kata.v2", join(directory, "trouped"), "/nowhere"), binary);
	assert.equal(await findShimBinary(binary, "/usr/bin/trouped", ""), binary);
	await assert.rejects(findShimBinary("io.containerd.none.v1", "/usr/bin/trouped", ""), { code: "NotFound" });
	await assert.rejects(findShimBinary("runc", "/usr/bin/trouped", ""), { code: "InvalidArgument" });
});
