/** Child of rocks-store.test.ts: store-writer DIRECTORY [COUNT]. Prints the number of each acknowledged change. */
import { DaemonError } from "../../errors/daemon-error.ts";
import { openRocksStore } from "./rocks-store.ts";
import type { Store } from "./store.ts";

const [directory = "", count = "Infinity"] = process.argv.slice(2);

/** Four changes at a time, so that some share a batch. */
async function write(store: Store): Promise<void> {
	let next = 0;
	const writer = async (): Promise<void> => {
		for (let i = ++next; i <= Number(count); i = ++next) {
			await store.update((tx) => {
				tx.put(`v1/${i}`, i);
				tx.record({ kind: "event", namespace: "", subject: "/written", body: i });
			});
			process.stdout.write(`${i}\n`);
		}
	};
	await Promise.all([writer(), writer(), writer(), writer()]);
	await store.close();
}

await openRocksStore({ directory }).then(write, (reason: unknown) => {
	const { code, message } = DaemonError.from(reason, { kind: "store", id: directory });
	process.stdout.write(`${code} ${message}\n`);
});
