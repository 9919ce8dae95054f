import type { Kernel, Poll } from "../../src/sys/kernel.ts";
import { exitOfStranger, openPidfd, startTimeOf } from "../../src/sys/pidfd.ts";
import type { Clock } from "../kernel/clock.ts";
import type { Witness, WitnessedExit } from "./witness.ts";

/** How long a shim may take to report what the pidfd has shown. */
const graceMs = 2_000;
/** After this time it should have: what is known is kept in case that this daemon dies, too. */
const keepMs = 25;

/** The witness on Linux: pidfd_open(2), polled by the event loop, PIDFD_GET_INFO or the zombie's status. */
export function pidfdWitness(kernel: Pick<Kernel, "pidfd_open" | "ioctl" | "close" | "poll">, clock: Clock): Witness {
	return {
		isThere: ({ pid, startTime }) => startTimeOf(pid) === startTime,
		watch(pid, seen) {
			let cancel = (): void => {};
			let tellNow = (): void => {
				grace = 0;
			};
			let grace: number = graceMs;
			const tell = (status: number | undefined): void => {
				const exit: WitnessedExit = {
					known: status !== undefined,
					exitStatus: status ?? 255,
					exitedAt: BigInt(clock.now()) * 1_000_000n,
				};
				const keep = exit.known && grace > 0 ? clock.after(keepMs, () => seen(exit, false)) : () => {};
				const tell = (ms: number) => clock.after(ms, () => seen(exit, true));
				let final = tell(grace);
				cancel = () => {
					keep();
					final();
				};
				tellNow = () => {
					cancel();
					final = tell(0);
					tellNow = () => {};
				};
			};
			const pidfd = openPidfd(kernel, pid);
			if (pidfd === undefined) {
				tell(undefined); // gone and reaped before we could look
				return { stop: () => cancel(), hurry: () => tellNow() };
			}
			let poll: Poll | undefined;
			const letGo = (): void => {
				poll?.close();
				if (poll !== undefined) kernel.close(pidfd);
				poll = undefined;
			};
			poll = kernel.poll(pidfd, () => {
				if (poll === undefined) return;
				// A zombie shows its status at once; after the reaping newer kernels still tell it.
				const status = exitOfStranger(kernel, pidfd, pid);
				letGo();
				tell(status);
			});
			poll.unref();
			return {
				stop() {
					letGo();
					cancel();
				},
				hurry: () => tellNow(),
			};
		},
	};
}
