/** What a container gets unless it asks otherwise. The values are containerd's (`ctr oci spec`, and `ctr run`'s device rules). */
import type { DeviceRule, Mount, NamespaceType, Rlimit } from "./runtime-spec.ts";

export const ociVersion = "1.0.2";

export const defaultCapabilities: readonly string[] = [
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_FSETID",
	"CAP_FOWNER",
	"CAP_MKNOD",
	"CAP_NET_RAW",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETFCAP",
	"CAP_SETPCAP",
	"CAP_NET_BIND_SERVICE",
	"CAP_SYS_CHROOT",
	"CAP_KILL",
	"CAP_AUDIT_WRITE",
];

export const defaultRlimits: readonly Rlimit[] = [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }];

export const defaultNamespaces: readonly NamespaceType[] = ["pid", "ipc", "uts", "mount", "network"];

export const defaultMounts: readonly Mount[] = [
	{ destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
	{
		destination: "/dev",
		type: "tmpfs",
		source: "tmpfs",
		options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
	},
	{
		destination: "/dev/pts",
		type: "devpts",
		source: "devpts",
		options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
	},
	{
		destination: "/dev/shm",
		type: "tmpfs",
		source: "shm",
		options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
	},
	{ destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
	{ destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
	{
		destination: "/run",
		type: "tmpfs",
		source: "tmpfs",
		options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
	},
];

/** The container's own cgroup, for programs that read their limits there. Not part of ctr's default. */
export const cgroupMount: Mount = {
	destination: "/sys/fs/cgroup",
	type: "cgroup",
	source: "cgroup",
	options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
};

export const defaultMaskedPaths: readonly string[] = [
	"/proc/acpi",
	"/proc/asound",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/sys/firmware",
	"/proc/scsi",
];

export const defaultReadonlyPaths: readonly string[] = [
	"/proc/bus",
	"/proc/fs",
	"/proc/irq",
	"/proc/sys",
	"/proc/sysrq-trigger",
];

const allowCharacter = (major: number, minor?: number): DeviceRule => ({
	allow: true,
	type: "c",
	major,
	...(minor === undefined ? {} : { minor }),
	access: "rwm",
});

/** Everything is denied, then the harmless devices are allowed (the kernel's Documentation/admin-guide/devices.txt). */
export const defaultDeviceRules: readonly DeviceRule[] = [
	{ allow: false, access: "rwm" },
	allowCharacter(1, 3), // null
	allowCharacter(1, 8), // random
	allowCharacter(1, 7), // full
	allowCharacter(5, 0), // tty
	allowCharacter(1, 5), // zero
	allowCharacter(1, 9), // urandom
	allowCharacter(5, 1), // console
	allowCharacter(136), // pts/*
	allowCharacter(5, 2), // ptmx
];
