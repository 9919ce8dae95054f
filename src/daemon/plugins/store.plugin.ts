import { join } from "node:path";
import { plugin } from "../../plugin/plugin.ts";
import { storeKey } from "../../services/plugin-keys.ts";

export const storePlugin = plugin({
	key: storeKey,
	async start({ root }) {
		const { openRocksStore } = await import("../../metadata/store/rocks-store.ts");
		return openRocksStore({ directory: join(root, "db") });
	},
	stop: (store) => store.close(),
});
