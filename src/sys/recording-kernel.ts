import type { Kernel, Readiness } from "./kernel.ts";
import { type CallName, signatures } from "./signatures.ts";

export interface RecordedCall {
	readonly call: CallName;
	readonly args: readonly unknown[];
}

export interface RecordedPoll {
	readonly fd: number;
	readonly readiness: Readiness;
	readonly ready: (problem?: string) => void;
	closed: boolean;
	referenced: boolean;
}

export interface RecordingKernel extends Kernel {
	readonly calls: RecordedCall[];
	readonly polls: RecordedPoll[];
}

/** What a call answers in a test; it may throw a SysError. */
export type Answers = { readonly [Name in CallName]?: Kernel[Name] };

/** The double of the kernel: records every call and answers 0, or what the test says. */
export function recordingKernel(answers: Answers = {}): RecordingKernel {
	const calls: RecordedCall[] = [];
	const polls: RecordedPoll[] = [];
	const kernel: Record<string, unknown> = {
		calls,
		polls,
		poll(fd: number, listener: (problem?: string) => void, readiness: Readiness = "readable") {
			const poll: RecordedPoll = {
				fd,
				readiness,
				closed: false,
				referenced: true,
				ready: (problem) => {
					if (!poll.closed) listener(problem);
				},
			};
			polls.push(poll);
			return {
				close: () => {
					poll.closed = true;
				},
				unref: () => {
					poll.referenced = false;
				},
			};
		},
	};
	for (const call of Object.keys(signatures) as CallName[])
		kernel[call] = (...args: unknown[]) => {
			calls.push({ call, args });
			const answer = answers[call] as ((...args: unknown[]) => number) | undefined;
			return answer === undefined ? 0 : answer(...args);
		};
	return kernel as unknown as RecordingKernel;
}
