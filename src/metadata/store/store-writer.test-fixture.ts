/** Child of rocks-store.test.ts: store-writer DIRECTORY [COUNT]. Prints the number of each acknowledged change. */
import { DaemonError } from "../../errors/daemon-error.ts";
import { openRocksStore } from "./rocks-store.ts";
import type { Store } from "./store.ts";

const [directory = "", count = "Infinity"] = process.argv.slice(2);

async function write(store: Store): Promise<void> {
	for (let i = 1; i <= Number(count); i++) {
		await store.update((tx) => {
			tx.put(`v1/${i}`, i);
			tx.record({ kind: "event", namespace: "", subject: "/written", body: i });
		});
		process.stdout.write(`${i}\n`);
	}
	await store.close();
}

await openRocksStore({ directory }).then(write, (reason: unknown) => {
	const { code, message } = DaemonError.from(reason, { kind: "store", id: directory });
	process.stdout.write(`${code} ${message}\n`);
});
