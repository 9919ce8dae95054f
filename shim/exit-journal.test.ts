import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { ExitJournal, type Fact } from "./exit-journal.ts";

const directory = mkdtempSync(join(tmpdir(), "troupe-journal-"));
after(() => rmSync(directory, { recursive: true }));
let number = 0;
const fresh = () => join(directory, String(number++));

const exit = (containerId: string, status: number): Fact => ({
	kind: "exit",
	namespace: "n",
	exit: { containerId, execId: "", pid: 9, status, at: 1_790_000_000_123_456_789n, unknown: false },
});

test("what was appended and not acknowledged is there after a crash, whatever the order", () => {
	fc.assert(
		fc.property(
			fc.array(fc.record({ status: fc.nat(255), acknowledged: fc.boolean() }), { maxLength: 40 }),
			(steps) => {
				const path = fresh();
				const journal = new ExitJournal(path);
				const expected: Fact[] = [];
				for (const { status, acknowledged } of steps) {
					const [entry] = journal.append([exit(`c${status}`, status)]);
					assert.ok(entry !== undefined);
					if (acknowledged) journal.acknowledge(entry.seq);
					else expected.push(entry.fact);
				}
				journal.close();
				const again = new ExitJournal(path); // as after a SIGKILL
				assert.deepEqual(
					again.pending.map(({ fact }) => fact),
					expected,
				);
				again.close();
			},
		),
		{ numRuns: 50 },
	);
});

test("a line that was cut off is no entry, and the others are whole", () => {
	const path = fresh();
	const journal = new ExitJournal(path);
	journal.append([exit("a", 1), exit("b", 2)]);
	journal.close();
	appendFileSync(path, '{"seq":3,"fact":{"kind":"exit","na');
	const again = new ExitJournal(path);
	assert.equal(again.pending.length, 2);
	const [next] = again.append([exit("c", 3)]);
	assert.equal(next?.seq, 3);
	again.close();
	assert.equal(new ExitJournal(path).pending.length, 3);
});

test("acknowledged entries do not make the file grow", () => {
	const path = fresh();
	const journal = new ExitJournal(path);
	for (let index = 0; index < 2000; index++)
		for (const { seq } of journal.append([exit("a", index % 256)])) journal.acknowledge(seq);
	assert.ok(statSync(path).size < 70_000);
	journal.remove();
});
