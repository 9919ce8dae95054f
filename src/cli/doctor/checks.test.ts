import assert from "node:assert/strict";
import { test } from "node:test";
import { cgroupLayout, type Finding, findings } from "./checks.ts";
import type { HostFacts } from "./host-facts.ts";

const unified = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n/dev/sda1 / ext4 rw 0 0\n";
const hybrid =
	"cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n/dev/sda1 / ext4 rw 0 0\n";
const good: HostFacts = {
	kernel: "6.18.0",
	filesystems: "nodev\tsysfs\nnodev\toverlay\n\text4\n",
	mounts: unified,
	cgroups: "",
	status: "CapEff:\t000001ffffffffff\n",
	unifiedControllers: "cpu memory pids",
	ipForward: "1\n",
	modules: "",
	programs: { crun: "crun version 1.8.1", runc: "runc version 1.1.5", igzip: "igzip", criu: "Version: 3.17" },
	cniPlugins: "/usr/lib/cni",
	isRoot: true,
};
const find = (facts: Partial<HostFacts>, subject: string): Finding => {
	const finding = findings({ ...good, ...facts }).find((candidate) => candidate.subject === subject);
	assert.ok(finding, subject);
	return finding;
};

test("a host that has everything is told nothing", () => {
	assert.deepEqual(
		findings(good).filter(({ verdict }) => verdict !== "ok"),
		[],
	);
});

test("every trouble comes with what to do about it", () => {
	const bare: HostFacts = {
		...good,
		kernel: "5.10.0",
		filesystems: "",
		mounts: "",
		status: "",
		programs: {},
		cniPlugins: undefined,
		isRoot: false,
	};
	for (const { subject, verdict, remedy } of findings(bare))
		if (verdict !== "ok") assert.ok(remedy, `${subject} has no remedy`);
});

test("the cgroup layout is told from the mounts", () => {
	assert.equal(cgroupLayout(unified), "unified");
	assert.equal(cgroupLayout(hybrid), "hybrid");
	assert.equal(cgroupLayout("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"), "legacy");
	assert.equal(cgroupLayout("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"), "none");
});

test("crun on a hybrid layout whose v2 part has a controller: the mount that helps is named", () => {
	const finding = find({ mounts: hybrid, unifiedControllers: "hugetlb\n" }, "OCI runtime");
	assert.equal(finding.verdict, "note");
	assert.match(finding.detail, /v2 still owns hugetlb; runc serves instead/);
	assert.match(finding.remedy ?? "", /mount -t cgroup -o hugetlb cgroup \/sys\/fs\/cgroup\/hugetlb/);
	const alone = { mounts: hybrid, unifiedControllers: "hugetlb\n", programs: { crun: "crun version 1.8.1" } };
	assert.equal(find(alone, "OCI runtime").verdict, "missing");
	assert.equal(find({ mounts: hybrid, unifiedControllers: "\n" }, "OCI runtime").verdict, "ok");
});

test("kernels, capabilities, file systems and programs are judged", () => {
	assert.equal(find({ kernel: "6.14.9" }, "kernel").verdict, "note");
	assert.equal(find({ kernel: "6.15.0-rc1" }, "kernel").verdict, "ok");
	assert.equal(find({ kernel: "7.0.0" }, "kernel").verdict, "ok");
	assert.equal(find({ status: "CapEff:\t00000000a80425fb\n" }, "capabilities").verdict, "missing");
	assert.equal(find({ status: "CapEff:\t000001fffeffffff\n" }, "capabilities").verdict, "note");
	assert.equal(find({ filesystems: "\text4\n" }, "overlay").verdict, "missing");
	assert.equal(find({ programs: { runc: "runc version 1.1.5" } }, "OCI runtime").verdict, "note");
	assert.equal(find({ programs: {} }, "OCI runtime").verdict, "missing");
	const nested = "overlay / overlay rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
	assert.equal(find({ mounts: nested }, "root directory").verdict, "missing");
	const own = `${nested}/dev/sdb /var/lib ext4 rw 0 0\n`;
	assert.equal(find({ mounts: own }, "root directory").verdict, "ok");
});
