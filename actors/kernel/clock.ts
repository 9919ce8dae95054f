/** Time as a parameter, so that tests need not sleep. */
export interface Clock {
	/** Milliseconds since 1970. */
	now(): number;
	/** Milliseconds with fractions from an arbitrary start; never goes back. */
	monotonic(): number;
	/** Runs the callback once, after `ms` milliseconds. The returned function cancels it. */
	after(ms: number, callback: () => void): () => void;
}

/** Longest delay of Node's timers; a longer one would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
	now: () => Date.now(),
	monotonic: () => performance.now(),
	after(ms, callback) {
		let timer: NodeJS.Timeout;
		const arm = (left: number): void => {
			const part = Math.min(left, longestTimerMs);
			timer = setTimeout(() => (left > part ? arm(left - part) : callback()), part);
		};
		arm(Math.max(0, ms));
		return () => clearTimeout(timer);
	},
};
