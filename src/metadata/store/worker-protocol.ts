import type { ErrorRecord } from "../../errors/daemon-error.ts";

/** How long the journal remembers. What comes first counts. */
export interface JournalLimits {
	readonly maxRecords: number;
	readonly maxAgeMs: number;
}

export interface WorkerOptions {
	readonly directory: string;
	readonly journal: JournalLimits;
}

/** An encoded journal record (journal-codec.ts). */
export type JournalRow = readonly [seq: number, text: string];

export type WorkerRequest =
	/** First request, once. Answered by {@link Opened}; the entries arrive before it in `entries` messages. */
	| { readonly type: "open" }
	| {
			readonly type: "commit";
			/** Null deletes. */
			readonly changes: readonly (readonly [key: string, text: string | null])[];
			readonly journal: readonly JournalRow[];
	  }
	| { readonly type: "read"; readonly since: number; readonly until: number; readonly limit: number }
	| { readonly type: "close" };

export interface Opened {
	readonly firstSeq: number;
	readonly lastSeq: number;
}
export interface Committed {
	readonly firstSeq: number;
}

export type WorkerAnswer =
	| { readonly type: "entries"; readonly rows: readonly (readonly [key: string, text: string])[] }
	| { readonly type: "done"; readonly id: number; readonly result: unknown }
	| { readonly type: "failed"; readonly id: number; readonly error: ErrorRecord };
