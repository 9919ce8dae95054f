import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import { child } from "./child-spec.ts";
import { type ProbeRef, probe, quiet, rejection, stage } from "./kernel.test-fixture.ts";
import { Lane } from "./lane.ts";
import { startSystem } from "./system.ts";

test("a mailbox takes a bounded number of messages, 1024 unless told otherwise", async () => {
	const { ref, system } = await stage();
	const told = Array.from({ length: 2_000 }, (_, n) => ref.tell({ type: "number.seen", n }));
	const results = await Promise.allSettled(told);
	assert.equal(results.filter(({ status }) => status === "fulfilled").length, 1_024);
	assert.equal(system.counters.overflows, 2_000 - 1_024);
});

test("a full mailbox answers a request with ResourceExhausted", async () => {
	const { ref } = await stage({ definition: { mailbox: 1 } });
	const first = ref.ask({ type: "echo", text: "first" }, { deadlineMs: 10 });
	const error = await rejection(ref.ask({ type: "echo", text: "second" }, { deadlineMs: 10 }));
	assert.equal(error.code, "ResourceExhausted");
	assert.match(error.message, /probe "a": its mailbox is full, in state "idle"/);
	assert.equal(await first, "first");
});

test("a full mailbox rejects a fact with ResourceExhausted, so that its sender repeats it", async () => {
	const { ref, said } = await stage({ definition: { mailbox: 1 } });
	const fact = { type: "number.seen", n: 2 } as const;
	void ref.tell({ type: "number.seen", n: 1 });
	assert.equal((await rejection(ref.tell(fact))).code, "ResourceExhausted");
	await ref.tell(fact);
	assert.deepEqual(said, ["born 0", "seen 1", "seen 2"]);
});

test("the mailbox is first in, first out, and the kernel's own messages go first", async () => {
	const { ref, said } = await stage();
	const caller = new AbortController();
	const asked = rejection(ref.ask({ type: "wait" }, { deadlineMs: 10, signal: caller.signal }));
	await quiet();
	for (const n of [1, 2, 3]) void ref.tell({ type: "number.seen", n });
	caller.abort();
	await asked;
	await quiet();
	assert.match(said[1] ?? "", /^cancelled/);
	assert.deepEqual(said.slice(2), ["seen 1", "seen 2", "seen 3"]);
});

test("an actor that awaits its commit takes no next message, while other actors go on", async () => {
	let release = (): void => undefined;
	let held: Promise<void> | undefined;
	const store = memoryStore({ beforeCommit: () => held });
	const said: string[] = [];
	const system = await startSystem({
		store,
		root: {
			strategy: "one_for_one",
			children: [
				child({ id: "a", logic: probe(said, true), input: { n: 0 } }),
				child({ id: "b", logic: probe(said, false), input: { n: 0 } }),
			],
		},
	});
	const [a, b] = [system.find<ProbeRef>("/a") as ProbeRef, system.find<ProbeRef>("/b") as ProbeRef];
	held = new Promise((resolve) => {
		release = resolve;
	});
	const told = [a.tell({ type: "number.seen", n: 1 }), a.tell({ type: "number.seen", n: 2 })];
	await quiet();
	const [inspection] = [...system.inspect()].filter(({ path }) => path === "/a");
	assert.equal(inspection?.status, "committing");
	assert.equal(inspection?.node === "actor" && inspection.mailbox.user, 1);
	assert.equal(await b.ask({ type: "echo", text: "on" }, { deadlineMs: 100 }), "on");
	release();
	held = undefined;
	await Promise.all(told);
	assert.deepEqual(said.slice(2), ["seen 1", "seen 2"]);
	await system.stop();
});

test("requests taken and not yet answered are bounded like the mailbox", async () => {
	const { ref } = await stage({ definition: { mailbox: 2 } });
	const waiting: Promise<unknown>[] = [];
	for (let n = 0; n < 2; n++) waiting.push(rejection(ref.ask({ type: "wait" }, { deadlineMs: 10 })));
	await quiet();
	const error = await rejection(ref.ask({ type: "wait" }, { deadlineMs: 10 }));
	assert.equal(error.code, "ResourceExhausted");
	assert.match(error.message, /too many requests are not yet answered/);
});

test("a lane does what an array does", () => {
	const command = fc.oneof(
		fc.record({ op: fc.constant("push" as const), items: fc.array(fc.integer(), { maxLength: 1 }) }),
		fc.record({ op: fc.constant("prepend" as const), items: fc.array(fc.integer(), { maxLength: 3 }) }),
		fc.record({ op: fc.constantFrom("shift" as const, "shift" as const, "remove" as const, "drain" as const) }),
	);
	fc.assert(
		fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
			const lane = new Lane<object>();
			let model: object[] = [];
			for (const { op, ...rest } of commands) {
				const items = ("items" in rest ? rest.items : []).map((n) => ({ n }));
				if (op === "push")
					for (const item of items) {
						lane.push(item);
						model.push(item);
					}
				else if (op === "prepend") {
					lane.prepend(items);
					model = [...items, ...model];
				} else if (op === "shift") assert.equal(lane.shift(), model.shift());
				else if (op === "remove") {
					const middle = model[Math.floor(model.length / 2)];
					if (middle !== undefined) assert.ok(lane.remove(middle));
					model = model.filter((item) => item !== middle);
				} else if (model.length > 50) {
					assert.deepEqual(lane.drain(), model);
					model = [];
				}
				assert.equal(lane.length, model.length);
				assert.deepEqual(lane.items(), model);
			}
		}),
	);
});
