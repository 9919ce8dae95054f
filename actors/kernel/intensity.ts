/** Counts restarts as OTP's supervisor does: more than `intensity` within `periodMs` is too many. */
export class Intensity {
	readonly intensity: number;
	readonly periodMs: number;
	#restarts: number[] = [];

	constructor(intensity: number, periodMs: number) {
		this.intensity = intensity;
		this.periodMs = periodMs;
	}

	/** Counts one more; false if that is too many. */
	allows(now: number): boolean {
		this.#restarts = [...this.#restarts.filter((at) => now - at <= this.periodMs), now];
		return this.#restarts.length <= this.intensity;
	}
}
