import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { ShimFact } from "../../machines/process-facts.ts";
import { DaemonError } from "../../src/errors/daemon-error.ts";
import type { AdoptContainersRequest } from "../../src/gen/troupe/shim/v1/shim.ts";
import { memoryStore } from "../../src/metadata/store/memory-store.ts";
import type { Store } from "../../src/metadata/store/store.ts";
import { type System, startSystem } from "../kernel/system.ts";
import type { ShimClient } from "./shim-connection.ts";
import { Shims } from "./shims.ts";
import { Standby } from "./standby.ts";

/** A host of scripted processes: shards and foreign shims by address, a standby that names shards. */
class ScriptedHost {
	readonly alive = new Map<string, { close(): void }>();
	readonly calls: string[] = [];
	readonly told: string[] = [];
	readonly residents = new Map<string, string>();
	standbyRuns = false;
	/** 2: the next shard that the standby names is dead. */
	stillborn = 0;
	/** Happens while an heir adopts, or a binary buries. */
	meanwhile = (): void => {};
	/** What an heir cannot open again of each container. */
	lost: readonly string[] = [];
	#shards = 0;
	#waiting: (() => void)[] = [];

	/** Serves an address until it is killed. */
	serve(address: string): void {
		this.alive.set(address, { close: () => {} });
	}

	kill(address: string): void {
		const process = this.alive.get(address);
		this.alive.delete(address);
		process?.close();
	}

	connect = async (address: string): Promise<ShimClient> => {
		if (!this.alive.has(address))
			throw new DaemonError("Unavailable", { kind: "ttrpc address", id: address }, "connection refused");
		const closed = Promise.withResolvers<void>();
		this.alive.set(address, { close: closed.resolve });
		const service = new Proxy(
			{},
			{
				get: (_, method) =>
					// a promise asks whether it is one
					method === "then" ? undefined : async (request: object) => this.#answer(address, String(method), request),
			},
		);
		return { service: () => service as never, closed: closed.promise, close: closed.resolve };
	};

	#answer(address: string, method: string, request: object): unknown {
		this.calls.push(`${method} ${address}`);
		if (method === "startShard") {
			const fresh = (request as { fresh: boolean }).fresh;
			if (fresh || this.#shards === 0 || this.stillborn === 1) this.#shards++;
			if (this.stillborn > 0 && this.stillborn-- === 2)
				return { shardId: `s${this.#shards}`, address: "unix:///dead", pid: 9 };
			const shardId = `s${this.#shards}`;
			if (!this.alive.has(`unix:///${shardId}`)) this.serve(`unix:///${shardId}`);
			return { shardId, address: `unix:///${shardId}`, pid: this.#shards };
		}
		if (method === "adopt") {
			this.meanwhile();
			const { containers } = request as AdoptContainersRequest;
			const shardId = address.replace("unix:///", "");
			return {
				containers:
					this.lost.length === 0 ? [] : containers.map((each) => ({ ...each, shardId, problem: "", lost: this.lost })),
			};
		}
		if (method === "shutdown") queueMicrotask(() => this.kill(address));
		return {};
	}

	tell(id: string, fact: ShimFact): void {
		if (fact.type === "shim.adopted" && this.residents.has(id)) this.residents.set(id, fact.shim);
		this.told.push(
			`${id} ${fact.type}${"shim" in fact ? ` ${fact.shim}` : ""}${"lost" in fact ? ` ${fact.lost}` : ""}`,
		);
		for (const wake of this.#waiting.splice(0)) wake();
	}

	/** Resolves when this was told. */
	async hears(fact: string): Promise<void> {
		const limit = AbortSignal.timeout(5_000);
		while (!this.told.includes(fact)) {
			assert.equal(limit.aborted, false, `not told: ${fact}; but ${this.told}`);
			await new Promise<void>((resolve) => {
				this.#waiting.push(resolve);
				setTimeout(resolve, 100);
			});
		}
	}
}

let host: ScriptedHost;
let store: Store;
let system: System;
let shims: Shims;
let warnings: string[];
const signal = new AbortController().signal;

async function open(): Promise<void> {
	system = await startSystem({ store, root: { strategy: "one_for_one" } });
	shims = await Shims.start({
		system,
		residents: {
			of: (_, shim) => [...host.residents].filter(([, at]) => at === shim).map(([id]) => ({ id, bundle: `/b/${id}` })),
			tell: async ({ id }, fact) => host.tell(id, fact),
		},
		standby: new Standby({
			connect: () => {
				if (!host.standbyRuns) throw new DaemonError("Unavailable", { kind: "standby", id: "" }, "none");
				host.serve("standby");
				return host.connect("standby");
			},
			launch: async () => {
				host.calls.push("launch standby");
				host.standbyRuns = true;
			},
			timeoutMs: 1_000,
			after: (_ms, callback) => setImmediate(callback),
			warn: (_fields, message) => warnings.push(message),
		}),
		ownRuntimes: new Set(["own"]),
		grouping: "shard",
		shardSize: 64,
		idleMs: 0,
		connect: host.connect,
		async startBinary({ shim }) {
			host.calls.push(`start ${shim}`);
			host.serve(`unix:///${shim}`);
			return { version: 2, address: `unix:///${shim}` };
		},
		async clearOwn({ shim }) {
			host.calls.push(`clear ${shim}`);
		},
		async deleteBinary({ shim }) {
			host.calls.push(`delete ${shim}`);
			host.meanwhile();
			return { exitStatus: 137, exitedAt: 5n };
		},
		readLog: async () => ({ close: () => {} }),
		now: () => 1,
		warn: (fields, message) => warnings.push(`${message} ${JSON.stringify(fields)}`),
	});
}

beforeEach(async () => {
	host = new ScriptedHost();
	store = memoryStore();
	warnings = [];
	await open();
});
afterEach(async () => {
	shims.stop();
	await system.stop();
	assert.deepEqual(warnings, []);
});

async function assign(id: string, runtime: string): Promise<string> {
	const bundleReady = Promise.resolve();
	const seeker = { namespace: "default", id, runtime, bundle: `/b/${id}`, bundleReady, sandboxId: "", signal };
	const { shim } = await shims.assign(seeker);
	host.residents.set(id, shim);
	return shim;
}
const links = (): string[] => [...store.entries("v1/default/shim/")].map(([key]) => key.split("/").at(-1) ?? "");
async function until(look: () => boolean): Promise<void> {
	const limit = AbortSignal.timeout(5_000);
	while (!look()) {
		assert.equal(limit.aborted, false, "not in time");
		await new Promise((resolve) => setImmediate(resolve));
	}
}

test("the first container starts the standby, and containers share a shard", async () => {
	assert.deepEqual(await Promise.all([assign("a", "own"), assign("b", "own")]), ["s1", "s1"]);
	assert.equal(await assign("c", "own"), "s1");
	assert.equal(host.calls.filter((call) => call === "launch standby").length, 1);
	assert.deepEqual(links(), ["s1"]);
});

test("a dead shard's containers are told of the loss, adopted by a fresh shard, and told of the heir", async () => {
	await assign("a", "own");
	host.kill("unix:///s1");
	await host.hears("a shim.adopted s2");
	assert.deepEqual(host.told, ["a shim.lost", "a shim.adopted s2"]);
	assert.ok(host.calls.includes("adopt unix:///s2"));
	await until(() => links().join() === "s2");
	assert.throws(() => shims.connection("default", "s1"), { code: "NotFound" });
});

test("what an heir could not open again is told after its name", async () => {
	await assign("a", "own");
	host.lost = ["its terminal: no"];
	host.kill("unix:///s1");
	await host.hears("a stdio.lost its terminal: no");
	assert.deepEqual(host.told, ["a shim.lost", "a shim.adopted s2", "a stdio.lost its terminal: no"]);
});

test("a container made elsewhere by the name of one that was being inherited is not told of the heir", async () => {
	await assign("a", "own");
	await assign("b", "own");
	host.meanwhile = () => {
		shims.arrived({ namespace: "default", id: "a" }, "s1"); // nothing is left of the first one
		host.residents.set("a", "s7");
	};
	host.kill("unix:///s1");
	await host.hears("b shim.adopted s2");
	await until(() => links().join() === "s2");
	assert.equal(host.residents.get("a"), "s7");
	assert.deepEqual(host.told, ["a shim.lost", "b shim.lost", "b shim.adopted s2"]);
});

test("a connection that ends while the shim lives is made again, and its containers may ask", async () => {
	await assign("a", "own");
	host.alive.get("unix:///s1")?.close();
	await host.hears("a shim.adopted s1");
	assert.equal(host.told.includes("a shim.lost"), false);
	shims.connection("default", "s1");
});

test("a foreign shim has a link of its own, and a dead one is buried by its binary", async () => {
	assert.equal(await assign("k", "io.containerd.kata.v2"), "k");
	host.kill("unix:///k");
	await host.hears("k shim.buried");
	assert.deepEqual(host.told, ["k shim.lost", "k shim.buried"]);
	await until(() => links().length === 0);
});

test("a foreign shim's container that is gone when it is buried is told nothing", async () => {
	await assign("k", "kata");
	host.meanwhile = () => {
		shims.arrived({ namespace: "default", id: "k" }, "k");
		host.residents.clear();
	};
	host.kill("unix:///k");
	await until(() => links().length === 0);
	assert.deepEqual(host.told, ["k shim.lost"]);
});

test("a restarted daemon connects the shims it knew; one that died meanwhile is settled", async () => {
	await assign("a", "own");
	await assign("k", "kata");
	shims.stop();
	await system.stop();
	host.kill("unix:///k");
	host.told.length = 0;
	await open();
	await host.hears("a shim.adopted s1");
	await host.hears("k shim.buried");
	await shims.reach("default", "s1", 1_000, signal);
});

test("a shim in which nothing lives any more is asked to end", async () => {
	await assign("a", "own");
	host.residents.clear();
	shims.arrived({ namespace: "default", id: "a" }, "s1");
	shims.release("default", "s1");
	await until(() => links().length === 0);
	assert.ok(host.calls.includes("shutdown unix:///s1"));
});

test("a shard that dies after the standby has named it is replaced by another", async () => {
	host.stillborn = 2;
	assert.equal(await assign("a", "own"), "s2");
	await until(() => links().join() === "s2");
});
