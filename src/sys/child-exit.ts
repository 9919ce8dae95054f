import type { Kernel } from "./kernel.ts";
import { failedWith } from "./sys-error.ts";

/** How a process ended: 0 to 255, or 128 + n after signal n (what shells and containerd report). */
export interface ChildExit {
	readonly pid: number;
	readonly status: number;
}

const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const CLD_EXITED = 1;

function waitid(kernel: Pick<Kernel, "waitid">, type: number, id: number, flags: number): ChildExit | undefined {
	const info = Buffer.alloc(128); // siginfo_t on 64-bit: si_code at 8, si_pid 16, si_status 24
	try {
		kernel.waitid(type, id, info, WEXITED | WNOHANG | flags);
	} catch (reason) {
		if (failedWith(reason, "ECHILD")) return undefined;
		throw reason;
	}
	const pid = info.readInt32LE(16);
	if (pid === 0) return undefined;
	const status = info.readInt32LE(24);
	return { pid, status: info.readInt32LE(8) === CLD_EXITED ? status : 128 + status };
}

/** Some child that has ended, left as it is (a zombie): its status can be written down before anybody forgets it. */
export const peekAnyExit = (kernel: Pick<Kernel, "waitid">): ChildExit | undefined => waitid(kernel, P_ALL, 0, WNOWAIT);

/** The exit of one child, left as it is; undefined while it runs and for what is not a child. */
export const peekExit = (kernel: Pick<Kernel, "waitid">, pid: number): ChildExit | undefined =>
	waitid(kernel, P_PID, pid, WNOWAIT);

/** Takes the exit of one child: the kernel forgets it, the pid is free. */
export const reap = (kernel: Pick<Kernel, "waitid">, pid: number): ChildExit | undefined =>
	waitid(kernel, P_PID, pid, 0);

/** The exit code of a wait status (wait(2)): what PIDFD_GET_INFO and /proc/PID/stat tell. */
export const statusOfWait = (wait: number): number => {
	const signal = wait & 0x7f;
	return signal === 0 ? (wait >> 8) & 0xff : 128 + signal;
};
