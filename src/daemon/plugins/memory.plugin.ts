import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { storeKey } from "../../services/plugin-keys.ts";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { mappedCode } from "../mapped-code.ts";
import { MemoryReturn, memoryGivenBack } from "../memory-return.ts";

const memoryKey = pluginKey<{ close(): void }>("io.troupe.memory.v1.return");

/** Everything that leaves much garbage leaves a record in the journal too. */
export const memoryPlugin = plugin({
	key: memoryKey,
	needs: { store: storeKey },
	async start(_, { store }) {
		// Loaded with the store; 6 MB of it are mapped by a start.
		const code = await mappedCode("/@nxtedition+rocksdb.node");
		const memory = new MemoryReturn(memoryGivenBack(nativeKernel, code));
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
