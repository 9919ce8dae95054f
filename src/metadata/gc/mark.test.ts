import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Labels } from "../labels.ts";
import { LeaseStore } from "../leases.ts";
import { ensureNamespace } from "../namespaces.ts";
import { memoryStore } from "../store/memory-store.ts";
import type { Store } from "../store/store.ts";
import { blobs, containers, images, ingests, snapshots } from "../tables.ts";
import { mark } from "./mark.ts";

const now = BigInt(Date.parse("2026-01-01T00:00:00Z")) * 1_000_000n;
const past = "2025-12-31T23:59:59Z";
const future = "2026-01-01T00:00:01Z";
const times = { createdAt: 0n, updatedAt: 0n };

/** Puts objects without the stores' rules, in namespace "n" unless said otherwise. */
class Scene {
	readonly store: Store = memoryStore();
	readonly leases = new LeaseStore(this.store);

	blob(key: string, labels: Labels = {}, namespace = "n"): Promise<void> {
		return this.store.update((tx) => {
			ensureNamespace(tx, namespace);
			blobs.put(tx, namespace, key, { labels, size: 1, ...times });
		});
	}
	image(key: string, digest: string, labels: Labels = {}): Promise<void> {
		return this.store.update((tx) => {
			ensureNamespace(tx, "n");
			const target = { mediaType: "m", digest, size: 1, annotations: {} };
			images.put(tx, "n", key, { labels, target, ...times });
		});
	}
	snapshot(key: string, parent = "", labels: Labels = {}): Promise<void> {
		return this.store.update((tx) => {
			ensureNamespace(tx, "n");
			const snapshot = { backendKey: key, kind: "committed", parent, labels, ...times } as const;
			snapshots.put(tx, "n", `s/${key}`, snapshot);
		});
	}
	container(key: string, snapshotKey: string, labels: Labels = {}): Promise<void> {
		return this.store.update((tx) => {
			ensureNamespace(tx, "n");
			const spec = { typeUrl: "", value: new Uint8Array() };
			const rest = { image: "", runtime: { name: "r" }, spec, extensions: {}, sandbox: "", ...times };
			containers.put(tx, "n", key, { labels, snapshotter: "s", snapshotKey, ...rest });
		});
	}
	ingest(key: string, parts: { expiresAt?: bigint; shared?: { digest: string; size: number } }): Promise<void> {
		return this.store.update((tx) => {
			ensureNamespace(tx, "n");
			ingests.put(tx, "n", key, { backendRef: key, startedAt: 0n, ...parts });
		});
	}
	async lease(id: string, labels: Labels, resources: readonly (readonly [type: string, id: string])[]): Promise<void> {
		await this.leases.create("n", { id, labels });
		for (const [type, resource] of resources) await this.leases.addResource("n", id, { type, id: resource });
	}
	/** What is in use, without the namespace. */
	used(): string[] {
		return [...mark(this.store, now)].map((id) => id.replace("/n/", " ")).sort();
	}
}

const d = (letter: string): string => `sha256:${letter.repeat(64)}`;
const content = (...letters: string[]): string[] => letters.map((letter) => `content ${d(letter)}`);

describe("mark", () => {
	it("an image keeps its target and all that the gc labels below it name, however the label ends", async () => {
		const scene = new Scene();
		await scene.blob(d("a"), {
			"containerd.io/gc.ref.content.config": d("b"),
			"containerd.io/gc.ref.content.l.0": d("c"),
			"containerd.io/gc.ref.content/x": d("d"),
			"containerd.io/gc.ref.contents": d("e"),
		});
		for (const letter of ["b", "c", "d", "e", "f"])
			await scene.blob(d(letter), letter === "b" ? { "containerd.io/gc.ref.snapshot.s": "top" } : {});
		await scene.snapshot("base");
		await scene.snapshot("top", "base");
		await scene.snapshot("other", "base");
		await scene.image("i", d("a"));
		assert.deepEqual(scene.used(), [...content("a", "b", "c", "d"), "image i", "snapshot s/base", "snapshot s/top"]);
	});

	it("a container keeps its snapshot with all parents, and what its labels name", async () => {
		const scene = new Scene();
		await scene.snapshot("base");
		await scene.snapshot("c", "base");
		await scene.blob(d("a"));
		await scene.blob(d("b"));
		await scene.container("c", "c", { "containerd.io/gc.ref.content": d("a") });
		assert.deepEqual(scene.used(), ["container c", ...content("a"), "snapshot s/base", "snapshot s/c"]);
	});

	it("gc.root keeps content and snapshots, whatever its value", async () => {
		const scene = new Scene();
		await scene.blob(d("a"), { "containerd.io/gc.root": "2026-01-01" });
		await scene.blob(d("b"));
		await scene.snapshot("x", "", { "containerd.io/gc.root": "no" });
		assert.deepEqual(scene.used(), [...content("a"), "snapshot s/x"]);
	});

	it("references do not leave their namespace", async () => {
		const scene = new Scene();
		await scene.image("i", d("a"));
		await scene.blob(d("a"), {}, "other");
		assert.ok(![...mark(scene.store, now)].includes(`content/other/${d("a")}`));
	});

	it("a lease keeps its resources and what they refer to; a flat one only the resources and parents of snapshots", async () => {
		for (const flat of [false, true]) {
			const scene = new Scene();
			await scene.blob(d("a"), { "containerd.io/gc.ref.content": d("b") });
			await scene.blob(d("b"));
			await scene.snapshot("base", "", { "containerd.io/gc.ref.content": d("c") });
			await scene.blob(d("c"));
			await scene.snapshot("top", "base");
			await scene.ingest("ref", {});
			await scene.lease("l", flat ? { "containerd.io/gc.flat": "x" } : {}, [
				["content", d("a")],
				["snapshots/s", "top"],
				["ingests", "ref"],
			]);
			const below = flat ? content("a") : content("a", "b", "c");
			assert.deepEqual(scene.used(), [...below, "ingest ref", "lease l", "snapshot s/base", "snapshot s/top"]);
		}
	});

	it("what is reached flatly and in full counts in full", async () => {
		const scene = new Scene();
		await scene.blob(d("a"), { "containerd.io/gc.ref.content": d("b") });
		await scene.blob(d("b"));
		await scene.lease("flat", { "containerd.io/gc.flat": "x" }, [["content", d("a")]]);
		await scene.image("i", d("a"));
		assert.deepEqual(scene.used(), [...content("a", "b"), "image i", "lease flat"]);
	});

	it("an expired lease keeps nothing; an expiry that cannot be read does not expire", async () => {
		const scene = new Scene();
		for (const [id, expire] of [
			["a", past],
			["b", future],
			["c", "soon"],
		] as const) {
			await scene.blob(d(id));
			await scene.lease(id, { "containerd.io/gc.expire": expire }, [["content", d(id)]]);
		}
		assert.deepEqual(scene.used(), [...content("b", "c"), "lease b", "lease c"]);
	});

	it("an expired image goes unless a lease or a reference keeps it; other objects are kept until they expire", async () => {
		const scene = new Scene();
		const expired = { "containerd.io/gc.expire": past };
		await scene.image("gone", d("a"), expired);
		await scene.image("leased", d("b"), expired);
		await scene.image("named", d("c"), expired);
		await scene.image("fresh", d("d"), { "containerd.io/gc.expire": future });
		await scene.image("root", d("e"), { "containerd.io/gc.ref.image": "named" });
		await scene.lease("l", {}, [["images", "leased"]]);
		await scene.blob(d("f"), { "containerd.io/gc.expire": future });
		await scene.blob(d("1"), expired);
		const used = scene.used().filter((id) => !id.startsWith("content"));
		assert.deepEqual(used, ["image fresh", "image leased", "image named", "image root", "lease l"]);
		assert.ok(scene.used().includes(`content ${d("f")}`));
		assert.ok(!scene.used().includes(`content ${d("1")}`));
	});

	it("an ingest lives until its time, and keeps the bytes that it shares", async () => {
		const scene = new Scene();
		await scene.ingest("old", { expiresAt: now - 1n });
		await scene.ingest("new", { expiresAt: now, shared: { digest: d("a"), size: 1 } });
		await scene.ingest("once leased", {});
		assert.deepEqual(scene.used(), [...content("a"), "ingest new"]);
	});

	it("a back reference keeps an object as long as the one it names", async () => {
		const scene = new Scene();
		await scene.container("c", "none");
		await scene.blob(d("a"), { "containerd.io/gc.bref.container": "c" });
		await scene.blob(d("b"), { "containerd.io/gc.bref.content.x": d("a") });
		await scene.blob(d("c"), { "containerd.io/gc.bref.image": "none" });
		await scene.snapshot("x", "", { "containerd.io/gc.bref.content": d("b") });
		await scene.snapshot("y", "", { "containerd.io/gc.bref.snapshot.s": "x" });
		const used = ["container c", ...content("a", "b"), "snapshot s/none", "snapshot s/x", "snapshot s/y"];
		assert.deepEqual(scene.used(), used);
	});

	it("a conditional reference holds while the snapshot lives and was used in time", async () => {
		const scene = new Scene();
		const used = (time: string): Labels => ({
			"containerd.io/gc.root": "1",
			"containerd.io/gc.cond.value-usedat": time,
		});
		await scene.snapshot("recent", "", used("2025-12-31T23:00:00Z"));
		await scene.snapshot("long", "", used("2025-12-01T00:00:00Z"));
		const cond = (value: string): Labels => ({ "containerd.io/gc.cond.snapshot.s/x": value });
		await scene.blob(d("a"), cond("usedat<1h30m|recent"));
		await scene.blob(d("b"), cond("usedat<1h30m|long"));
		await scene.blob(d("c"), cond("usedat<1m,usedat>48h|long"));
		await scene.blob(d("d"), cond("usedat<=2h|recent"));
		await scene.blob(d("e"), cond("usedat<1h30m|none"));
		await scene.blob(d("f"), cond("usedat<soon|recent"));
		assert.deepEqual(
			scene.used().filter((id) => id.startsWith("content")),
			content("a", "c"),
		);
	});

	it("cycles end, and reach is the same as a walk of the model, whatever the graph", async () => {
		const letters = ["a", "b", "c", "d", "e", "f"];
		const edges = fc.array(fc.tuple(fc.constantFrom(...letters), fc.constantFrom(...letters)), { maxLength: 12 });
		await fc.assert(
			fc.asyncProperty(edges, fc.subarray(letters, { maxLength: 2 }), async (pairs, roots) => {
				const scene = new Scene();
				for (const letter of letters) {
					const refs = pairs.filter(([from]) => from === letter).map(([, to]) => to);
					const labels = Object.fromEntries(refs.map((to, i) => [`containerd.io/gc.ref.content.${i}`, d(to)]));
					await scene.blob(d(letter), roots.includes(letter) ? { ...labels, "containerd.io/gc.root": "1" } : labels);
				}
				const model = new Set(roots);
				for (let size = -1; size !== model.size; ) {
					size = model.size;
					for (const [from, to] of pairs) if (model.has(from)) model.add(to);
				}
				assert.deepEqual(scene.used(), content(...[...model].sort()));
			}),
			{ numRuns: 40 },
		);
	});
});
