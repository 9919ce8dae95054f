import assert from "node:assert/strict";
import { it } from "node:test";
import fc from "fast-check";
import { LeaseStore } from "../leases.ts";
import { ensureNamespace } from "../namespaces.ts";
import { memoryStore } from "../store/memory-store.ts";
import { blobs, containers, images, snapshots } from "../tables.ts";
import { mark } from "./mark.ts";

const now = BigInt(Date.parse("2026-01-01T00:00:00Z")) * 1_000_000n;
const expires = { past: "2025-12-31T00:00:00Z", future: "2026-01-02T00:00:00Z" } as const;
const times = { createdAt: 0n, updatedAt: 0n };
const digest = (n: number): string => `sha256:${String(n).repeat(64)}`;

/** Objects are told apart by kind and number; three of each kind, some of which are not there. */
const number = fc.nat({ max: 2 });
const kind = fc.constantFrom("content", "snapshot", "image");
const object = fc.record({ kind, n: number });
const separator = fc.constantFrom(".", "/");
const expiry = fc.constantFrom(undefined, "past", "future");
const world = fc.record({
	blobs: fc.uniqueArray(
		fc.record({ n: number, root: fc.boolean(), refs: fc.array(object, { maxLength: 3 }), separator, expiry }),
		{
			selector: ({ n }) => n,
		},
	),
	snapshots: fc.uniqueArray(
		fc.record({ n: number, root: fc.boolean(), parent: fc.option(number), refs: fc.array(object, { maxLength: 2 }) }),
		{ selector: ({ n }) => n },
	),
	images: fc.uniqueArray(fc.record({ n: number, target: number, refs: fc.array(object, { maxLength: 2 }), expiry }), {
		selector: ({ n }) => n,
	}),
	containers: fc.uniqueArray(fc.record({ n: number, snapshot: number, refs: fc.array(object, { maxLength: 2 }) }), {
		selector: ({ n }) => n,
	}),
	leases: fc.uniqueArray(
		fc.record({ n: number, flat: fc.boolean(), expiry, resources: fc.array(object, { maxLength: 3 }) }),
		{ selector: ({ n }) => n },
	),
});
type World = typeof world extends fc.Arbitrary<infer T> ? T : never;
type Target = { readonly kind: "content" | "snapshot" | "image"; readonly n: number };

const idOf = ({ kind, n }: Target): string =>
	kind === "content" ? digest(n) : kind === "image" ? `image${n}` : `key${n}`;
const expireLabel = (when: keyof typeof expires | undefined) =>
	when === undefined ? {} : { "containerd.io/gc.expire": expires[when] };
/** A label for each reference, with a suffix after the separator where labels of one kind must differ. */
function labelsOf(refs: readonly Target[], separator: string): Record<string, string> {
	const name = { content: "content", image: "image", snapshot: "snapshot.s" };
	return Object.fromEntries(
		refs.map((ref, i) => {
			// in `snapshot.<name>` a dot may belong to the name
			const mark = ref.kind === "snapshot" ? "/" : separator;
			return [`containerd.io/gc.ref.${name[ref.kind]}${mark}${i}`, idOf(ref)];
		}),
	);
}

/** The rules in their plainest form: a set that grows until nothing is added. `flat` is reached, but its labels are not followed. */
function reachable({ blobs, snapshots, images, containers, leases }: World): string[] {
	const full = new Set<string>();
	const flat = new Set<string>();
	const id = ({ kind, n }: Target): string => `${kind} ${n}`;
	const add = (to: Target, isFlat: boolean): void => void (isFlat ? flat : full).add(id(to));
	for (const { n, root, expiry } of blobs) if (root || expiry === "future") add({ kind: "content", n }, false);
	for (const { n, root } of snapshots) if (root) add({ kind: "snapshot", n }, false);
	for (const { n, expiry } of images) if (expiry !== "past") add({ kind: "image", n }, false);
	for (const { snapshot, refs } of containers) {
		add({ kind: "snapshot", n: snapshot }, false);
		for (const ref of refs) add(ref, false);
	}
	for (const { flat: isFlat, expiry, resources } of leases)
		if (expiry !== "past") for (const resource of resources) add(resource, isFlat);
	for (let size = -1; size !== full.size + flat.size; ) {
		size = full.size + flat.size;
		for (const isFlat of [true, false]) {
			const reached = isFlat ? flat : full;
			const follow = (refs: readonly Target[]): void => {
				if (!isFlat) for (const ref of refs) add(ref, false);
			};
			for (const { n, refs } of blobs) if (reached.has(`content ${n}`)) follow(refs);
			for (const { n, parent, refs } of snapshots) {
				if (!reached.has(`snapshot ${n}`)) continue;
				if (parent !== null) add({ kind: "snapshot", n: parent }, isFlat);
				follow(refs);
			}
			for (const { n, target, refs } of images) {
				if (!reached.has(`image ${n}`)) continue;
				add({ kind: "content", n: target }, isFlat);
				follow(refs);
			}
		}
	}
	return [...new Set([...full, ...flat])].sort();
}

it("what is marked is what a plain walk reaches, in any world of images, containers, leases, blobs and snapshots", async () => {
	const property = fc.asyncProperty(world, async (world) => {
		const store = memoryStore();
		const leases = new LeaseStore(store);
		await store.update((tx) => {
			ensureNamespace(tx, "n");
			for (const { n, root, refs, separator, expiry } of world.blobs) {
				const rootLabel = root ? { "containerd.io/gc.root": "" } : {};
				const labels = { ...labelsOf(refs, separator), ...rootLabel, ...expireLabel(expiry) };
				blobs.put(tx, "n", digest(n), { labels, size: 1, ...times });
			}
			for (const { n, root, parent, refs } of world.snapshots) {
				const labels = { ...labelsOf(refs, "/"), ...(root ? { "containerd.io/gc.root": "x" } : {}) };
				const below = parent === null ? "" : `key${parent}`;
				snapshots.put(tx, "n", `s/key${n}`, { backendKey: "b", kind: "committed", parent: below, labels, ...times });
			}
			for (const { n, target: to, refs, expiry } of world.images) {
				const target = { mediaType: "m", digest: digest(to), size: 1, annotations: {} };
				images.put(tx, "n", `image${n}`, {
					labels: { ...labelsOf(refs, "."), ...expireLabel(expiry) },
					target,
					...times,
				});
			}
			for (const { n, snapshot, refs } of world.containers) {
				const spec = { typeUrl: "", value: new Uint8Array() };
				const rest = { image: "", runtime: { name: "r" }, spec, extensions: {}, sandbox: "", ...times };
				const snapshotKey = `key${snapshot}`;
				containers.put(tx, "n", `c${n}`, { labels: labelsOf(refs, "."), snapshotter: "s", snapshotKey, ...rest });
			}
		});
		for (const { n, flat, expiry, resources } of world.leases) {
			const labels = { ...(flat ? { "containerd.io/gc.flat": "x" } : {}), ...expireLabel(expiry) };
			await leases.create("n", { id: `l${n}`, labels });
			const types = { content: "content", image: "images", snapshot: "snapshots/s" };
			for (const resource of resources)
				await leases.addResource("n", `l${n}`, { type: types[resource.kind], id: idOf(resource) });
		}
		const marked = [...mark(store, now)]
			.filter((id) => /^(?:content|snapshot|image)\//.test(id))
			.map((id) => `${id.split("/", 1)[0]} ${id.at(-1)}`);
		assert.deepEqual(marked.sort(), reachable(world));
	});
	await fc.assert(property, { numRuns: 150 });
});
