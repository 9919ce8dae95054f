import { DaemonError } from "../errors/daemon-error.ts";

/** Shared memory by which a job is told to stop and tells how far it is: it sees it even while it runs synchronously. */
export interface JobSignals {
	readonly memory: SharedArrayBuffer;
}

export const jobSignals = (): JobSignals => ({ memory: new SharedArrayBuffer(24) });

const cancelledWord = 0; // of 32 bits
const bytesWord = 1; // of 64 bits
const entriesWord = 2;

export const cancel = ({ memory }: JobSignals): void => {
	Atomics.store(new Int32Array(memory), cancelledWord, 1);
};

/** The job's end: cheap enough for every chunk. */
export class JobMonitor {
	readonly #words: Int32Array;
	readonly #longs: BigInt64Array;
	readonly #id: string;

	constructor({ memory }: JobSignals, id: string) {
		this.#words = new Int32Array(memory);
		this.#longs = new BigInt64Array(memory);
		this.#id = id;
	}

	/** Throws Canceled once the job was told to stop. */
	check(): void {
		if (Atomics.load(this.#words, cancelledWord) !== 0)
			throw new DaemonError("Canceled", { kind: "job", id: this.#id }, "cancelled");
	}

	report(bytes: number, entries: number): void {
		this.#longs[bytesWord] = BigInt(bytes);
		this.#longs[entriesWord] = BigInt(entries);
	}
}

export function progressOf({ memory }: JobSignals): { readonly bytes: number; readonly entries: number } {
	const longs = new BigInt64Array(memory);
	return { bytes: Number(longs[bytesWord] ?? 0n), entries: Number(longs[entriesWord] ?? 0n) };
}
