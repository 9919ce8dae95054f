import type { Journal } from "../metadata/store/store.ts";
import { notice } from "./cloud-event.ts";
import { type Frame, type FrameWindow, LazyFrame } from "./frame-window.ts";
import type { StreamRequest } from "./stream-filter.ts";

/** Where frames go: a WebSocket or a chunked HTTP response. */
export interface FrameSink {
	/** False when the transport's buffer is full: `drained` is awaited before the next frame. */
	send(frame: Frame): boolean;
	/** A message of the stream itself. */
	say(json: string): void;
	/** Resolves when the buffer has emptied or the connection has ended. */
	drained(): Promise<void>;
	/** Flushes and closes. `behind`: the reader was too slow. */
	end(why: "done" | "behind" | "stopped"): void;
}

export interface SubscriptionOptions {
	readonly journal: Journal;
	readonly window: FrameWindow;
	readonly request: StreamRequest;
	readonly sink: FrameSink;
	/** Milliseconds that a reader may take to empty its buffer before it counts as too slow. */
	readonly stallMs: number;
	/** The connection has ended, or the server stops. */
	readonly signal: AbortSignal;
}

const batch = 256;

/**
 * Sends a reader everything it asked for, in order, without gap or duplicate: one cursor that only rises, over the journal
 * and then over the window of its newest records. Nothing is queued for a reader but its transport's buffer, so a slow one
 * costs nothing; if it stalls, or falls out of the window after it had caught up, it hears the last sequence number it was
 * sent (`troupe.stream.behind`) and is closed: it can come back with `since`. Resolves when it is over.
 */
export async function subscribe({
	journal,
	window,
	request,
	sink,
	stallMs,
	signal,
}: SubscriptionOptions): Promise<void> {
	let cursor = request.since ?? window.last;
	const end = request.follow ? Number.POSITIVE_INFINITY : window.last;
	let live = request.since === undefined;

	if (cursor + 1 < journal.first && cursor < journal.last) {
		sink.say(notice("troupe.stream.trimmed", { since: String(cursor), first: String(journal.first) }));
	}
	const behind = (): void => {
		sink.say(notice("troupe.stream.behind", { delivered: String(cursor), newest: String(window.last) }));
		sink.end("behind");
	};
	/** True when the reader may have the next frame. */
	const deliver = async (frame: Frame): Promise<boolean> => {
		cursor = frame.record.seq;
		if (!request.matches(frame.record)) return true;
		return sink.send(frame) || (await drains(sink, stallMs, signal));
	};

	while (!signal.aborted && cursor < end) {
		if (window.covers(cursor)) {
			live = true;
			const frame = window.after(cursor);
			if (frame === undefined) await appended(window, signal);
			else if (!(await deliver(frame)) && !signal.aborted) return behind();
		} else if (live) {
			return behind();
		} else {
			const records = await journal.read(cursor, batch);
			if (records.length === 0) cursor = window.start; // all of it has been trimmed
			for (const record of records) {
				if (signal.aborted || cursor >= end) break;
				if (!(await deliver(new LazyFrame(record))) && !signal.aborted) return behind();
			}
		}
	}
	sink.end(signal.aborted ? "stopped" : "done");
}

/** Whether the buffer emptied in time; false also on abort. */
function drains(sink: FrameSink, stallMs: number, signal: AbortSignal): Promise<boolean> {
	return new Promise((resolve) => {
		const settle = (emptied: boolean): void => {
			clearTimeout(timer);
			signal.removeEventListener("abort", abort);
			resolve(emptied);
		};
		const abort = (): void => settle(false);
		const timer = setTimeout(settle, stallMs, false);
		signal.addEventListener("abort", abort, { once: true });
		if (signal.aborted) abort();
		else void sink.drained().then(() => settle(!signal.aborted));
	});
}

/** Resolves when the window has new records, or on abort. */
function appended(window: FrameWindow, signal: AbortSignal): Promise<void> {
	return new Promise((resolve) => {
		const done = (): void => {
			stop();
			signal.removeEventListener("abort", done);
			resolve();
		};
		const stop = window.onAppend(done);
		signal.addEventListener("abort", done, { once: true });
		if (signal.aborted) done();
	});
}
