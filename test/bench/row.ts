import type { Summary } from "./statistics.ts";

/** One measured thing: both peers, the bare runtime where it makes sense, and the ratio that Troupe aims for. */
export interface Row {
	readonly what: string;
	readonly unit: "ms" | "MB";
	readonly troupe: Summary;
	readonly containerd: Summary;
	readonly bare?: Summary;
	/** Largest wanted ratio, troupe / containerd; undefined for a row that only explains another. */
	readonly goal?: number | undefined;
}
