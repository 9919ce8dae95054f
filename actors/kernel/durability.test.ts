import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { child } from "./child-spec.ts";
import { manualClock, type ProbeRef, probe, rejection } from "./kernel.test-fixture.ts";
import { startSystem } from "./system.ts";

type Happening = "fact" | "full disk" | "crash" | "poison" | "restart of the supervisor" | "restart of the daemon";
const happening = fc.constantFrom<Happening[]>(
	"fact",
	"fact",
	"fact",
	"full disk",
	"crash",
	"poison",
	"restart of the supervisor",
	"restart of the daemon",
);

/** What a shim relies on when it deletes an exit from its journal. */
test("whatever crashes, restarts and fills up, an acknowledged fact is in the record once, and a rejected one is not", async () => {
	await fc.assert(
		fc.asyncProperty(fc.array(happening, { maxLength: 25 }), async (happenings) => {
			const clock = manualClock();
			let full = false;
			const store = memoryStore({
				beforeCommit: () => {
					if (full) throw new Error("no space left");
				},
			});
			const logic = probe([], true);
			const start = async () => {
				const children = [child({ id: "a", logic, input: { n: 0 } })];
				const root = { strategy: "one_for_one" as const, intensity: 1_000, children };
				const system = await startSystem({ clock, store, random: () => 0, root });
				return { system, ref: system.find<ProbeRef>("/a") as ProbeRef };
			};
			let { system, ref } = await start();
			const acknowledged: number[] = [];
			for (const [n, happens] of happenings.entries()) {
				const fact = { type: "number.seen", n } as const;
				switch (happens) {
					case "fact":
						await ref.tell(fact);
						acknowledged.push(n);
						break;
					case "full disk":
						full = true;
						await rejection(ref.tell(fact));
						full = false;
						break;
					case "crash": {
						const behind = [ref.tell({ type: "effect.broke" }), ref.tell(fact)]; // waits for the successor
						await clock.advance(10_000);
						await Promise.all(behind);
						acknowledged.push(n);
						break;
					}
					case "poison":
						await rejection(ref.tell({ type: "poison.taken" }));
						await clock.advance(10_000);
						break;
					case "restart of the supervisor":
						await system.root.stop("a");
						await rejection(ref.tell(fact));
						await system.root.restart("a");
						break;
					case "restart of the daemon":
						await system.stop();
						({ system, ref } = await start());
				}
			}
			const record = store.get("v1/test/probe/a") as { context: { seen: readonly number[] } };
			assert.deepEqual(record.context.seen, acknowledged);
			await system.stop();
		}),
		{ numRuns: 60 },
	);
});
