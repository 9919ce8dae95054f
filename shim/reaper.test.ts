import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChildExit } from "../src/sys/child-exit.ts";
import { recordingKernel } from "../src/sys/recording-kernel.ts";
import { SysError } from "../src/sys/sys-error.ts";
import { Reaper } from "./reaper.ts";

const P_PID = 1;
const WNOWAIT = 0x0100_0000;

/** A kernel with zombies: pid to exit status. */
function withZombies(zombies: Map<number, number>, steps: string[]) {
	return recordingKernel({
		waitid: (type, id, info, flags) => {
			const pid = type === P_PID ? id : [...zombies.keys()][0];
			if (type === P_PID && !zombies.has(id)) return 0;
			if (pid === undefined) throw new SysError("waitid", 10);
			const buffer = info as Buffer;
			buffer.writeInt32LE(1, 8);
			buffer.writeInt32LE(pid, 16);
			buffer.writeInt32LE(zombies.get(pid) ?? 0, 24);
			if ((flags & WNOWAIT) === 0) {
				zombies.delete(pid);
				steps.push(`reap ${pid}`);
			}
			return 0;
		},
	});
}

const silent = () => {};

test("a watched exit is recorded before it is reaped, all that have ended in one record", () => {
	const steps: string[] = [];
	const zombies = new Map<number, number>();
	const reaper = new Reaper(
		withZombies(zombies, steps),
		(exits) => steps.push(`record ${exits.map(({ pid, status }) => `${pid}:${status}`).join(" ")}`),
		silent,
	);
	for (const pid of [10, 11, 12]) reaper.watch(pid, true);
	zombies.set(10, 1).set(12, 3);
	reaper.sweep();
	assert.deepEqual(steps, ["record 10:1 12:3", "reap 10", "reap 12"]);
});

test("an exit that cannot be recorded stays a zombie, and is offered again", () => {
	const steps: string[] = [];
	const zombies = new Map([[10, 1]]);
	let full = true;
	const reaper = new Reaper(
		withZombies(zombies, steps),
		() => {
			if (full) throw new Error("no space left on device");
		},
		silent,
	);
	reaper.watch(10, true);
	assert.deepEqual([...zombies.keys()], [10]);
	full = false;
	reaper.sweep();
	assert.deepEqual(steps, ["reap 10"]);
});

test("a process that ended before its pid was known is recorded when it is", async () => {
	const zombies = new Map<number, number>();
	const recorded: ChildExit[] = [];
	const reaper = new Reaper(withZombies(zombies, []), (exits) => recorded.push(...exits), silent);
	await reaper.whileCreating(async () => {
		zombies.set(20, 7);
		reaper.sweep();
		assert.equal(zombies.size, 0, "nothing may block the reaping of others");
		reaper.watch(20, false);
	});
	assert.deepEqual(recorded, [{ pid: 20, status: 7 }]);
});

test("a stray is not taken for a process that has got its pid since", async () => {
	const zombies = new Map([[20, 7]]);
	const recorded: ChildExit[] = [];
	const reaper = new Reaper(withZombies(zombies, []), (exits) => recorded.push(...exits), silent, true);
	reaper.sweep();
	reaper.watch(20, true);
	assert.deepEqual(recorded, []);
	zombies.set(20, 1);
	reaper.sweep();
	assert.deepEqual(recorded, [{ pid: 20, status: 1 }]);
});

test("tools get their exit; processes that nobody knows are reaped", async () => {
	const zombies = new Map([
		[30, 0],
		[31, 4],
	]);
	const reaper = new Reaper(withZombies(zombies, []), () => assert.fail("recorded"), silent);
	assert.deepEqual(await reaper.exitOf(30), { pid: 30, status: 0 });
	assert.equal(zombies.size, 0);
});

test("an exit without an owner is kept durably before it is reaped, until it has one", async () => {
	const steps: string[] = [];
	const zombies = new Map([[5, 3]]);
	const journal = {
		keep: ({ pid, status }: ChildExit) => void steps.push(`keep ${pid}:${status}`),
		drop: (pid: number) => void steps.push(`drop ${pid}`),
	};
	const record = (exits: readonly ChildExit[]) => void steps.push(`record ${exits.map(({ pid }) => pid).join()}`);
	const reaper = new Reaper(withZombies(zombies, steps), record, silent, false, journal);
	await reaper.whileCreating(async () => {
		reaper.sweep();
		reaper.watch(5, false);
		zombies.set(6, 1);
		reaper.sweep();
	});
	assert.deepEqual(steps, ["keep 5:3", "reap 5", "record 5", "drop 5", "keep 6:1", "reap 6", "drop 6"]);
});
