/**
 * How far a file has been written, in memory shared with the worker that reads it. 32-bit words, because Atomics.wait
 * takes no others on all engines: [0] a counter of changes to wait on, [1] the state, [2..3] the bytes as a 64-bit count.
 */
const changes = 0;
const state = 1;
const bytesWord = 1; // of 64-bit words
const growingState = 0;
const completeState = 1;
const failedState = 2;

/** What a worker needs to follow the file. Plain data: it may be posted to a thread. */
export interface GrowingBlob {
	readonly path: string;
	readonly progress: SharedArrayBuffer;
}

/** The writer's end. Each call is cheap: call `advance` after every write. */
export interface GrowingBlobWriter {
	readonly blob: GrowingBlob;
	/** `size` bytes from the file's start are written. Never goes down. */
	advance(size: number): void;
	/** The file is whole and `size` bytes long. */
	complete(size: number): void;
	/** No more will come: the reader ends with Aborted. */
	fail(): void;
}

/** Starts telling readers about `path`, a file that is being appended to. */
export function growingBlob(path: string, size = 0): GrowingBlobWriter {
	const progress = new SharedArrayBuffer(16);
	const words = new Int32Array(progress);
	const longs = new BigInt64Array(progress);
	const publish = (bytes: number | undefined, newState: number): void => {
		if (bytes !== undefined) Atomics.store(longs, bytesWord, BigInt(bytes));
		Atomics.store(words, state, newState);
		Atomics.add(words, changes, 1);
		Atomics.notify(words, changes);
	};
	publish(size, growingState);
	return {
		blob: { path, progress },
		advance: (bytes) => publish(bytes, growingState),
		complete: (bytes) => publish(bytes, completeState),
		fail: () => publish(undefined, failedState),
	};
}

export interface Growth {
	/** Readable bytes from the file's start. */
	readonly size: number;
	readonly state: "growing" | "complete" | "failed";
	/** Pass it to {@link waitForGrowth} to wait for the next change. */
	readonly change: number;
}

/** The reader's end. */
export function growthOf({ progress }: GrowingBlob): Growth {
	const words = new Int32Array(progress);
	const change = Atomics.load(words, changes);
	const now = Atomics.load(words, state);
	const size = Number(Atomics.load(new BigInt64Array(progress), bytesWord));
	return { size, change, state: now === growingState ? "growing" : now === completeState ? "complete" : "failed" };
}

/** Blocks the thread (workers only) until something changed since `seen`, at most `timeoutMs`. */
export function waitForGrowth({ progress }: GrowingBlob, seen: Growth, timeoutMs: number): void {
	Atomics.wait(new Int32Array(progress), changes, seen.change, timeoutMs);
}
