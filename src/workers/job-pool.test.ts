import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { DaemonError } from "../errors/daemon-error.ts";
import { JobPool, type JobPoolOptions } from "./job-pool.ts";
import type { TestJob } from "./jobs.test-fixture.ts";

const object = { kind: "test", id: "job" };

function open(t: TestContext, options: Partial<JobPoolOptions> = {}): { pool: JobPool; errors: Error[] } {
	const errors: Error[] = [];
	const entry = new URL("./jobs.test-fixture.ts", import.meta.url);
	const pool = new JobPool({ entry, threads: 1, onError: (error) => errors.push(error), ...options });
	t.after(() => pool.close());
	return { pool, errors };
}

const run = (pool: JobPool, job: TestJob): Promise<string> => pool.run<string>(object, job);

const refusal = async (promise: Promise<unknown>): Promise<DaemonError> => {
	const reason = await promise.then(
		() => undefined,
		(error: unknown) => error,
	);
	assert.ok(reason instanceof DaemonError, String(reason));
	return reason;
};

test("no thread before the first job, none again after idle time", async (t) => {
	const { pool } = open(t, { idleMs: 20 });
	assert.equal(pool.threads, 0);
	assert.equal(await run(pool, { kind: "echo", text: "hello" }), "hello");
	await t.waitFor(() => assert.equal(pool.threads, 0), { timeout: 10_000 });
	assert.equal(await run(pool, { kind: "echo", text: "again" }), "again");
});

test("an error keeps its code and its object", async (t) => {
	const { pool } = open(t);
	const error = await refusal(run(pool, { kind: "fail" }));
	assert.equal(error.code, "OutOfRange");
	assert.deepEqual(error.object, { kind: "thing", id: "x", namespace: "n" });
	assert.equal(error.problem, "too far");
});

test("a thread that dies fails its job, and the next job has another", async (t) => {
	const { pool } = open(t);
	assert.equal((await refusal(run(pool, { kind: "die" }))).code, "Internal");
	assert.equal(await run(pool, { kind: "echo", text: "alive" }), "alive");
});

test("the queue is bounded", async (t) => {
	const { pool } = open(t, { queue: 1 });
	const gate = new SharedArrayBuffer(4);
	const first = run(pool, { kind: "wait", gate });
	await t.waitFor(() => assert.equal(pool.threads, 1));
	const second = run(pool, { kind: "echo", text: "second" });
	const third = refusal(run(pool, { kind: "echo", text: "third" }));
	assert.equal((await third).code, "ResourceExhausted");
	Atomics.store(new Int32Array(gate), 0, 1);
	Atomics.notify(new Int32Array(gate), 0);
	assert.deepEqual(await Promise.all([first, second]), ["waited", "second"]);
});

test("after closing every job is refused", async (t) => {
	const { pool } = open(t);
	await run(pool, { kind: "echo", text: "x" });
	await pool.close();
	assert.equal((await refusal(run(pool, { kind: "echo", text: "y" }))).code, "Unavailable");
});
