import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ImageActors } from "../../actors/images/image-actors.ts";
import { startSystem } from "../../actors/kernel/system.ts";
import { buildImage, type FixtureImage, type ImagePlan } from "../../test/fixtures/image.ts";
import { LocalContentStore } from "../content/local-content-store.ts";
import { NamespacedContent } from "../metadata/content.ts";
import { ImageStore } from "../metadata/images.ts";
import { LeaseStore } from "../metadata/leases.ts";
import { SnapshotStore } from "../metadata/snapshots.ts";
import { Snapshotters } from "../metadata/snapshotters.ts";
import { memoryStore } from "../metadata/store/memory-store.ts";
import { MemoryRecords } from "../snapshots/memory-records.test-fixture.ts";
import { openOverlaySnapshotter } from "../snapshots/overlay-snapshotter.ts";
import { TreePool } from "../workers/tree-pool.ts";
import { UnpackPool } from "../workers/unpack-pool.ts";
import type { Unpacker, UnpackRequest } from "../workers/unpacker.ts";
import { ImagePuller } from "./image-puller.ts";
import { ScriptedRegistry } from "./scripted-registry.test-fixture.ts";
import { StoredImages } from "./stored-images.ts";

interface Context {
	after(fn: () => Promise<void>): void;
}

/** An unpacker that counts, and can be made to fail. */
class WatchedUnpacker implements Unpacker {
	readonly requests: UnpackRequest[] = [];
	readonly #inner: Unpacker;
	before: (request: UnpackRequest) => Promise<void> = async () => undefined;

	constructor(inner: Unpacker) {
		this.#inner = inner;
	}

	async unpack(...[request, options]: Parameters<Unpacker["unpack"]>) {
		this.requests.push(request);
		await this.before(request);
		return await this.#inner.unpack(request, options);
	}
}

/** A puller on real stores, workers and directories, and a registry that fails at will. */
export async function pullerOn(
	t: Context,
	{ stallMs = 60_000, parent = tmpdir() }: { stallMs?: number; parent?: string } = {},
) {
	const root = await mkdtemp(join(parent, "troupe-pull-"));
	const registry = await ScriptedRegistry.start();
	const store = memoryStore();
	const blobs = await LocalContentStore.open(join(root, "content"));
	const content = new NamespacedContent({ store, backend: blobs });
	const images = new ImageStore(store);
	const leases = new LeaseStore(store);
	const errors: Error[] = [];
	const onError = (error: Error): void => void errors.push(error);
	const trees = new TreePool({ onError });
	const pool = new UnpackPool({ onError, threads: 2 });
	const unpacker = new WatchedUnpacker(pool);
	const snapshotter = await openOverlaySnapshotter({
		root: join(root, "overlay"),
		records: new MemoryRecords(),
		trees,
		onProblem: onError,
		support: { indexOff: true, userxattr: false },
	});
	const snapshots = new SnapshotStore({ store, snapshotter });
	const named = new Snapshotters([snapshots]);
	const storage = new StoredImages({
		content,
		blobs,
		images,
		leases,
		snapshotter: (name) => ({ snapshots: named.named(name), rebase: true }),
	});
	const actors = new ImageActors({ storage, unpacker });
	const system = await startSystem({ root: { strategy: "one_for_one", children: [actors.spec] } });
	actors.attach(system);
	const puller = new ImagePuller({ actors, hostDirectories: [join(root, "hosts")], stallMs });
	t.after(async () => {
		await system.stop();
		await snapshotter.close();
		await pool.close();
		await trees.close();
		await registry.stop();
		await rm(root, { recursive: true });
	});

	/** Puts an image into the registry; answers its full name. */
	const push = (image: FixtureImage, repository = "lib/app", tag = "1"): string => {
		for (const { bytes, mediaType } of [image.config, ...image.layers]) registry.blob(bytes, mediaType);
		registry.manifest(repository, tag, image.manifest.bytes, image.manifest.mediaType);
		return `${registry.host}/${repository}:${tag}`;
	};
	/** What must hold when nothing is under way: no leases, ingests, extractions or actors. */
	const leftOver = async () => ({
		leases: leases.list("default").map(({ id }) => id),
		ingests: (await blobs.statuses()).map(({ ref, offset }) => ({
			ref: ref.replace(/^.*(layer-|manifest-)/, "$1"),
			offset,
		})),
		actors: [...system.inspect()].filter((node) => node.node === "actor").map(({ path }) => path),
		extractions: snapshots
			.list("default")
			.filter(({ kind }) => kind !== "committed")
			.map(({ key }) => key),
		backend: [...snapshotter.walk()].filter(({ kind }) => kind !== "committed").map(({ name }) => name),
	});
	/** What a pull let go of is gone, at most some turns after its answer. */
	const nothingIsLeft = async (): Promise<void> => {
		const deadline = performance.now() + 10_000;
		while (!isDeepStrictEqual(await leftOver(), nothingLeft) && performance.now() < deadline)
			await new Promise((resolve) => setImmediate(resolve));
		assert.deepEqual(await leftOver(), nothingLeft);
	};
	const configure = async (text: string): Promise<void> => {
		await mkdir(join(root, "hosts", registry.host), { recursive: true });
		await writeFile(join(root, "hosts", registry.host, "hosts.toml"), `server = "http://${registry.host}"\n${text}`);
	};
	const readLayer = async (chainId: string, file: string): Promise<string> => {
		const key = `look-${chainId}-${Math.random()}`;
		await snapshots.view({ namespace: "default" }, key, chainId);
		const [mount] = await snapshots.mounts("default", key);
		await snapshots.remove({ namespace: "default" }, key);
		await snapshots.sweep();
		const lower = mount?.type === "bind" ? mount.source : lowerOf(mount?.options ?? []);
		return await readFile(join(lower, file), "utf8");
	};
	return {
		root,
		registry,
		store,
		blobs,
		content,
		images,
		leases,
		snapshots,
		unpacker,
		system,
		actors,
		puller,
		push,
		leftOver,
		nothingIsLeft,
		configure,
		readLayer,
		errors,
	};
}

const lowerOf = (options: readonly string[]): string =>
	options
		.find((option) => option.startsWith("lowerdir="))
		?.slice("lowerdir=".length)
		.split(":")[0] ?? "";

const nothingLeft = { leases: [], ingests: [], actors: [], extractions: [], backend: [] };

/** An image of layers with one file each; large ones are padded with what does not compress. */
export function imageOf(names: readonly string[], pad: (name: string) => Uint8Array | undefined = () => undefined) {
	const layers: ImagePlan["layers"] = names.map((name) => {
		const padding = pad(name);
		return [
			{ name: `${name}.txt`, content: `content of ${name}` },
			...(padding === undefined ? [] : [{ name: `${name}.bin`, content: padding }]),
		];
	});
	return buildImage({ layers });
}
