import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { nativeKernel } from "../../src/sys/native-kernel.ts";
import type { Clock } from "../kernel/clock.ts";
import { pidfdWitness } from "./pidfd-witness.ts";
import type { WitnessedExit } from "./witness.ts";

/** Time passes at once. */
const hastyClock: Clock = {
	now: () => 7,
	monotonic: () => 7,
	after(_ms, callback) {
		const timer = setImmediate(callback);
		return () => clearImmediate(timer);
	},
};

/** A process that ends with 7 when its stdin is closed. */
async function processOf() {
	const child = spawn("sh", ["-c", "echo ready; read line; exit 7"], { stdio: ["pipe", "pipe", "ignore"] });
	await new Promise((resolve) => child.stdout.once("data", resolve));
	assert.ok(child.pid !== undefined);
	const ended = new Promise((resolve) => child.once("exit", resolve));
	return { pid: child.pid, end: () => child.stdin.end(), ended };
}

test("whoever held a pidfd from before the exit can tell it", { timeout: 10_000 }, async () => {
	const { pid, end } = await processOf();
	const alive = setInterval(() => {}, 1_000); // a watch keeps no event loop alive
	const told: boolean[] = [];
	const seen = new Promise<WitnessedExit>((resolve) => {
		pidfdWitness(nativeKernel, hastyClock).watch(pid, (exit, isFinal) => {
			told.push(isFinal);
			if (isFinal) resolve(exit);
		});
	});
	end();
	const { known, exitStatus, exitedAt } = await seen;
	clearInterval(alive);
	// Before Linux 6.15 the status of a process that was reaped is known to its parent only.
	assert.equal(exitStatus, known ? 7 : 255);
	assert.equal(exitedAt, 7_000_000n);
	assert.deepEqual(told, known ? [false, true] : [true]); // first to be kept, then for good
});

test("a process that was gone before the watch has an unknown exit", async () => {
	const { pid, end, ended } = await processOf();
	end();
	await ended;
	const exit = await new Promise<WitnessedExit>((resolve) => {
		pidfdWitness(nativeKernel, hastyClock).watch(pid, resolve);
	});
	assert.deepEqual(exit, { known: false, exitStatus: 255, exitedAt: 7_000_000n });
});

test("a process that was let go is not told", { timeout: 10_000 }, async () => {
	const { pid, end, ended } = await processOf();
	const watch = pidfdWitness(nativeKernel, hastyClock).watch(pid, () => assert.fail("told"));
	watch.stop();
	end();
	await ended;
	await new Promise((resolve) => setImmediate(resolve));
});

test("in a hurry the exit is told without the time that shims have", { timeout: 10_000 }, async () => {
	const { pid, end } = await processOf();
	const waits: number[] = [];
	const clock: Clock = {
		...hastyClock,
		after(ms, callback) {
			waits.push(ms);
			return hastyClock.after(ms, callback);
		},
	};
	const seen = Promise.withResolvers<WitnessedExit>();
	pidfdWitness(nativeKernel, clock).watch(pid, seen.resolve).hurry();
	end();
	const alive = setInterval(() => {}, 1_000);
	await seen.promise;
	clearInterval(alive);
	assert.deepEqual(waits, [0]);
});
