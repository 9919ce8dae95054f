import type { IngestStatus } from "../content/content-store.ts";
import type { Digest } from "../content/digest.ts";
import type { StoredIngest } from "./tables.ts";

/** An ingest whose bytes are there already. */
export function sharedStatus(
	ref: string,
	{ startedAt }: StoredIngest,
	{ digest, size }: { readonly digest: Digest; readonly size: number },
): IngestStatus {
	const started = new Date(Number(startedAt / 1_000_000n));
	return { ref, offset: size, total: size, expected: digest, startedAt: started, updatedAt: started };
}
