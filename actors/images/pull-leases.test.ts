import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ImageLease, ImageStorage } from "./image-storage.ts";
import { PullLeases } from "./pull-leases.ts";

function fixture() {
	const events: string[] = [];
	let number = 0;
	const lease = async (namespace: string): Promise<ImageLease> => {
		const id = `${namespace}-${++number}`;
		events.push(`+${id}`);
		return { id, release: async () => void events.push(`-${id}`) };
	};
	let now = 0;
	const storage = { lease, open: () => assert.fail("not needed") } satisfies ImageStorage;
	const leases = new PullLeases(storage, () => now);
	const pass = (ms: number): void => {
		now += ms;
	};
	return { leases, events, pass };
}

describe("leases of pulls", () => {
	test("pulls at the same time share a lease; it goes with the last share", async () => {
		const { leases, events } = fixture();
		const [one, two] = await Promise.all([leases.acquire("a"), leases.acquire("a")]);
		const layer = one.share();
		assert.deepEqual([one.id, two.id, layer.id], ["a-1", "a-1", "a-1"]);
		await one.release();
		await one.release();
		await two.release();
		assert.deepEqual(events, ["+a-1"]);
		await layer.release();
		assert.deepEqual(events, ["+a-1", "-a-1"]);
		assert.equal((await leases.acquire("a")).id, "a-2");
	});

	test("each namespace has its own, and an old one is not given to new pulls", async () => {
		const { leases, pass } = fixture();
		assert.deepEqual([(await leases.acquire("a")).id, (await leases.acquire("b")).id], ["a-1", "b-2"]);
		pass(3_600_001);
		assert.equal((await leases.acquire("a")).id, "a-3");
	});

	test("a lease that could not be made is tried anew", async () => {
		let fail = true;
		const storage = {
			lease: async () => {
				if (fail) throw new Error("no room");
				return { id: "x", release: async () => undefined };
			},
			open: () => assert.fail("not needed"),
		} satisfies ImageStorage;
		const leases = new PullLeases(storage, () => 0);
		await assert.rejects(leases.acquire("a"), /no room/);
		fail = false;
		assert.equal((await leases.acquire("a")).id, "x");
	});
});
