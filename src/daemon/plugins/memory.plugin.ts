import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { storeKey } from "../../services/plugin-keys.ts";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { MemoryReturn, memoryGivenBack } from "../memory-return.ts";

const memoryKey = pluginKey<{ close(): void }>("io.troupe.memory.v1.return");

/** Everything that leaves much garbage leaves a record in the journal too. */
export const memoryPlugin = plugin({
	key: memoryKey,
	needs: { store: storeKey },
	start(_, { store }) {
		const memory = new MemoryReturn(memoryGivenBack(nativeKernel));
		const unsubscribe = store.journal.subscribe(() => memory.used());
		memory.used(); // the start itself
		return {
			close() {
				unsubscribe();
				memory.close();
			},
		};
	},
	stop: (memory) => memory.close(),
});
