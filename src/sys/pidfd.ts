import { readFileSync, statSync } from "node:fs";
import { statusOfWait } from "./child-exit.ts";
import type { Kernel } from "./kernel.ts";
import { failedWith } from "./sys-error.ts";

/** A descriptor that pins a process: it never means another one. Undefined when the process is gone and reaped. */
export function openPidfd(kernel: Pick<Kernel, "pidfd_open">, pid: number): number | undefined {
	try {
		return kernel.pidfd_open(pid, 0); // close-on-exec by itself
	} catch (reason) {
		if (failedWith(reason, "ESRCH", "EINVAL")) return undefined;
		throw reason;
	}
}

/** Sends a signal; false when the process has ended. */
export function signalPidfd(kernel: Pick<Kernel, "pidfd_send_signal">, pidfd: number, signal: number): boolean {
	try {
		kernel.pidfd_send_signal(pidfd, signal, null, 0);
		return true;
	} catch (reason) {
		if (failedWith(reason, "ESRCH")) return false;
		throw reason;
	}
}

// _IOWR(0xFF, 11, struct pidfd_info); 64 bytes is the structure's first version: u64 mask, u64 cgroup id, u32 pid, tgid,
// ppid, eight user and group ids, i32 exit code at 60 (include/uapi/linux/pidfd.h).
const GET_INFO = 0xc000ff0b + 64 * 0x10000;
const INFO_EXIT = 1n << 3n;

/** What the kernel keeps for holders of a pidfd after the process was reaped (from 6.15); undefined otherwise. */
function keptExit(kernel: Pick<Kernel, "ioctl">, pidfd: number): number | undefined {
	const info = Buffer.alloc(64);
	info.writeBigUInt64LE(INFO_EXIT, 0);
	try {
		kernel.ioctl(pidfd, GET_INFO, info);
	} catch (reason) {
		if (failedWith(reason, "ENOTTY", "ESRCH", "EINVAL")) return undefined;
		throw reason;
	}
	return info.readBigUInt64LE(0) & INFO_EXIT ? statusOfWait(info.readInt32LE(60)) : undefined;
}

/** Fields of /proc/PID/stat from the third on, counted as in proc(5). Undefined if there is no such process. */
function statWord(pid: number, field: number): string | undefined {
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
		return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[field - 3];
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ESRCH")) return undefined;
		throw reason;
	}
}

function statField(pid: number, field: number): number | undefined {
	const word = statWord(pid, field);
	return word === undefined ? undefined : Number(word);
}

/** Clock ticks after boot when the process started: with the pid it is an identity. Undefined if there is none. */
export const startTimeOf = (pid: number): number | undefined => statField(pid, 22);

/**
 * Names the file that a process executes; another name means that it has executed another one. Undefined if there is no such
 * process, if it has ended, or if nobody may look (proc(5): /proc/PID/exe).
 */
export function executableOf(pid: number): string | undefined {
	try {
		const { dev, ino } = statSync(`/proc/${pid}/exe`, { bigint: true });
		return `${dev} ${ino}`;
	} catch (reason) {
		if (failedWith(reason, "ENOENT", "ESRCH", "EACCES")) return undefined;
		throw reason;
	}
}

/** Parent's pid; undefined if there is no such process. */
export const parentOf = (pid: number): number | undefined => statField(pid, 4);

/**
 * The exit status (as in ChildExit) of a process that has ended and is not our child: the kernel's note for holders of a
 * pidfd, or the zombie while nobody has reaped it. Undefined if neither is there.
 */
export function exitOfStranger(kernel: Pick<Kernel, "ioctl">, pidfd: number, pid: number): number | undefined {
	const kept = keptExit(kernel, pidfd);
	if (kept !== undefined) return kept;
	const zombie = statField(pid, 52);
	// Asked again: had it been reaped meanwhile, the pid could be somebody else's.
	return keptExit(kernel, pidfd) ?? (zombie === undefined || !isZombie(pid) ? undefined : statusOfWait(zombie));
}

// PF_EXITING (include/linux/sched.h), in the ninth field.
const EXITING = 0x4;

/**
 * It is on its way out, and has no namespaces any more. That can last: the init of a pid namespace is not even a zombie before
 * every other process of the namespace is reaped, by whomever (zap_pid_ns_processes in kernel/pid_namespace.c).
 */
export const isExiting = (pid: number): boolean => ((statField(pid, 9) ?? 0) & EXITING) !== 0;

/** It has ended, and its parent has not reaped it. */
export const isZombie = (pid: number): boolean => statWord(pid, 3) === "Z";
