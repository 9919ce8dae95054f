import { join } from "node:path";
import * as z from "zod";
import { plugin } from "../../plugin/plugin.ts";
import { storeKey } from "../../services/plugin-keys.ts";

/** Section `[plugins."io.containerd.metadata.v1.rocksdb"]`: what the journal of events and transitions keeps at most. */
const config = z.strictObject({
	journal_records: z.int().positive().default(100_000),
	journal_hours: z.number().positive().default(24),
});

export const storePlugin = plugin({
	key: storeKey,
	config,
	async start({ root, config: { journal_records: maxRecords, journal_hours } }) {
		const { openRocksStore } = await import("../../metadata/store/rocks-store.ts");
		return openRocksStore({
			directory: join(root, "db"),
			journal: { maxRecords, maxAgeMs: journal_hours * 3_600_000 },
		});
	},
	stop: (store) => store.close(),
});
