import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments } from "./arguments.ts";
import { Cgroup, directoriesOf, parseHierarchies } from "./cgroup.ts";
import { parseExactly } from "./exact-json.ts";
import { crunFits } from "./oci-runtime.ts";
import { canMove } from "./process-status.ts";
import { placesOf, readSettings } from "./settings.ts";

test("flags as containerd writes them: one dash, the action last", () => {
	const words = "-namespace k8s.io -address /run/d.sock -publish-binary /bin/d -id web -debug start".split(" ");
	const { action, namespace, address, id, debug } = parseArguments(words);
	assert.deepEqual([action, namespace, address, id, debug], ["start", "k8s.io", "/run/d.sock", "web", true]);
	assert.equal(parseArguments(["--bundle=/b", "-new-flag", "value", "delete"]).bundle, "/b");
	assert.throws(() => parseArguments(["-id"]), /needs a value/);
});

test("sockets stay below the kernel's 107 bytes and differ by daemon", () => {
	const one = placesOf("/run/a.sock", {});
	const two = placesOf("/run/b.sock", {});
	assert.notEqual(one.standbySocket, two.standbySocket);
	assert.ok(one.shardSocket("m1abcdefgh0").length < 107);
	assert.equal(placesOf("/run/a.sock", {}).standbySocket, one.standbySocket);
});

test("settings have defaults, and nonsense is not taken", () => {
	const { shardSize, grouping, eventsAddress } = readSettings({ TROUPE_SHIM_SHARD_SIZE: "-3" }, "/d.sock");
	assert.deepEqual([shardSize, grouping, eventsAddress], [64, "shard", "/d.sock.ttrpc"]);
});

test("control groups of a hybrid host and of a unified one", () => {
	const hybrid = parseHierarchies(
		[
			"30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
			"31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
			"32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
		].join("\n"),
	);
	const v1 = new Cgroup(directoriesOf("4:memory:/x/web\n3:cpu,cpuacct:/x/web\n0::/\n", hybrid));
	assert.equal(v1.version, 1);
	assert.equal(v1.directory("memory"), "/sys/fs/cgroup/memory/x/web");
	assert.equal(v1.directory("cpuacct"), "/sys/fs/cgroup/cpu,cpuacct/x/web");
	const unified = parseHierarchies("30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
	const v2 = new Cgroup(directoriesOf("0::/system.slice/web\n", unified));
	assert.deepEqual([v2.version, v2.directory("memory")], [2, "/sys/fs/cgroup/system.slice/web"]);
	assert.deepEqual(Cgroup.fromRecord(v2.toRecord()).directory("pids"), "/sys/fs/cgroup/system.slice/web");
});

test("crun is not used on a hybrid host whose v2 hierarchy has a controller", () => {
	const hybrid = "cgroup /sys/fs/cgroup/memory cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
	assert.equal(
		crunFits(hybrid, () => "hugetlb\n"),
		false,
	);
	assert.equal(
		crunFits(hybrid, () => "\n"),
		true,
	);
	assert.equal(
		crunFits("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", () => "memory\n"),
		true,
	);
});

test("numbers of an OCI spec come out as they went in", () => {
	const text = '{"hard":18446744073709551615,"soft":1024,"ratio":0.5}';
	assert.equal(JSON.stringify(parseExactly(text)), text);
});

test("a stopped process never moves again", () => {
	for (const to of ["starting", "running", "paused", "stopped"] as const) assert.equal(canMove("stopped", to), false);
	assert.equal(canMove("created", "starting"), true);
});
