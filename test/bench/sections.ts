import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { busyboxTree } from "../fixtures/busybox-layer.ts";
import { pushImage } from "../fixtures/push-image.ts";
import { hostTrees, packLayer } from "./big-image.ts";
import { execute } from "./execute.ts";
import { BareRuntime, LifeClient, type LifeTimes } from "./life.ts";
import { type Peer, pss } from "./peers.ts";
import type { Row } from "./row.ts";
import { treeOf } from "./same-tree.ts";
import { lease, namespace, pull, type Stage } from "./stage.ts";
import { type Summary, summarize, timed } from "./statistics.ts";

const lives = 100;
const warmUps = 3;
const cliRuns = 20;
const pulls = 3;
const moreStarts = 20;
/** Both peers are at rest for this long before their memory is read: what is measured is idle containers. */
const restMs = 40_000;
/** Largest wanted share of containerd's memory, by the number of idle containers. */
const memoryGoals: Readonly<Record<number, number>> = { 50: 0.5, 100: 0.4 };

/** Largest wanted ratio of each part of a life; the parts of a task are shown to tell where its time goes. */
const lifeGoals: Readonly<Partial<Record<keyof LifeTimes, number>>> = { life: 0.6, task: 0.6 };
const ociRuntimes = ["crun", "runc"];
const topOf = (chainIds: readonly string[]): string => chainIds.at(-1) ?? "";

const parts = ["life", "task", "create", "start", "exit", "delete"] as const;

/** A container's life through the API with each OCI runtime, beside the runtime alone. */
export async function benchLife(stage: Stage): Promise<Row[]> {
	const rows: Row[] = [];
	const rootfs = join(stage.directory, "bare-rootfs");
	mkdirSync(rootfs);
	busyboxTree(rootfs);
	for (const runtime of ociRuntimes) {
		const clients = [stage.troupe, stage.containerd].map(
			(peer) => new LifeClient(peer, namespace, topOf(stage.small.chainIds), runtime, lease),
		);
		const alone = new BareRuntime(runtime, stage.directory);
		const contestants = [
			...clients.map((client) => (id: string) => client.live(id, ["true"])),
			(id: string) => alone.live(id, rootfs, ["true"]),
		].map((live) => ({ live, times: [] as LifeTimes[] }));
		for (let turn = -warmUps; turn < lives; turn++)
			for (const { live, times } of contestants) {
				const time = await live(`life-${turn + warmUps}`);
				if (turn >= 0) times.push(time);
			}
		const row = (part: keyof LifeTimes): Row => {
			const [troupe, containerd, bare] = contestants.map(({ times }) => summarize(times.map((time) => time[part])));
			if (troupe === undefined || containerd === undefined || bare === undefined)
				throw new Error("three were measured");
			const what = part === "life" ? "life of a container" : part === "task" ? "its task" : `  ${part}`;
			return { what: `${what}, ${runtime}`, unit: "ms", troupe, containerd, bare, goal: lifeGoals[part] };
		};
		const [life, task, ...ofTask] = parts.map(row) as [Row, Row, ...Row[]];
		rows.push(life, overhead(life), task, overhead(task), ...ofTask);
	}
	return rows;
}

/** What each peer takes longer than the bare runtime, at the median and at the 99th percentile. */
function overhead({ what, unit, troupe, containerd, bare = troupe }: Row): Row {
	const over = ({ median, p99, min, n }: Summary): Summary => ({
		median: median - bare.median,
		p99: p99 - bare.p99,
		min: min - bare.min,
		n,
	});
	return { what: `overhead over bare, ${what}`, unit, troupe: over(troupe), containerd: over(containerd), goal: 0.5 };
}

/** `run --rm IMAGE true` end to end, the CLI's own start included. */
export async function benchCli(stage: Stage): Promise<Row[]> {
	const times = { troupe: [] as number[], containerd: [] as number[] };
	for (let turn = -1; turn < cliRuns; turn++) {
		for (const peer of [stage.troupe, stage.containerd]) {
			const [program = "", ...flags] = peer.cli;
			const args =
				peer.name === "containerd"
					? ["run", "--rm", "--runc-binary", "crun", stage.small.reference, `cli-${turn + 1}`, "true"]
					: ["run", "--rm", stage.small.reference, "true"];
			const time = await timed(() => execute(program, [...flags, ...args]));
			if (turn >= 0) times[peer.name].push(time);
		}
	}
	return [
		{
			what: "run --rm IMAGE true, crun",
			unit: "ms",
			troupe: summarize(times.troupe),
			containerd: summarize(times.containerd),
			goal: 1,
		},
	];
}

/** Pull and unpack of a large image made of the host's own trees, and the unpacked trees compared. */
export async function benchPull(stage: Stage): Promise<Row[]> {
	const layers = [];
	for (const [index, paths] of (await hostTrees()).entries()) {
		const { path, ...layer } = await packLayer(paths, join(stage.directory, `layer-${index}.tar.gz`));
		layers.push({ ...layer, content: { path } });
	}
	const image = await pushImage(stage.registry.host, "bench/large", "latest", layers);
	const times = { troupe: [] as number[], containerd: [] as number[] };
	for (let turn = 0; turn < pulls; turn++) {
		for (const peer of [stage.troupe, stage.containerd]) {
			await execute("sync", []);
			times[peer.name].push(await timed(() => pull(peer, image.reference)));
			if (turn < pulls - 1) await forget(peer, image.reference);
		}
	}
	const [ours, theirs] = [
		await treeOf(stage.troupe, namespace, topOf(image.chainIds), lease),
		await treeOf(stage.containerd, namespace, topOf(image.chainIds), lease),
	];
	console.log(
		`unpacked trees: troupe ${ours.entries} entries ${ours.digest}, containerd ${theirs.entries} entries ${theirs.digest}`,
	);
	if (ours.digest !== theirs.digest || ours.entries !== theirs.entries) throw new Error("the unpacked trees differ");
	return [
		{
			what: `pull and unpack, 8 layers, ${ours.entries} entries`,
			unit: "ms",
			troupe: summarize(times.troupe),
			containerd: summarize(times.containerd),
			goal: 0.5,
		},
	];
}

async function forget(peer: Peer, reference: string): Promise<void> {
	const [program = "", ...flags] = peer.cli;
	await execute(program, [
		...flags,
		...(peer.name === "containerd" ? ["images", "rm", "--sync", reference] : ["rmi", reference]),
	]);
}

/** PSS of the daemon and its shims with no container, then with 50 and 100 that sleep. */
export async function benchMemory(stage: Stage): Promise<Row[]> {
	const rows: Row[] = [];
	const peers = [stage.troupe, stage.containerd].map((peer) => ({
		peer,
		client: new LifeClient(peer, namespace, topOf(stage.small.chainIds), "crun", lease),
	}));
	const running: string[] = [];
	const startEverywhere = async (id: string): Promise<number[]> => {
		running.push(id);
		const times = [];
		for (const { client } of peers) times.push(await timed(() => client.start(id, ["sleep", "100000"])));
		return times;
	};
	try {
		const empty: number[][] = [];
		for (let turn = 0; turn < moreStarts; turn++) empty.push(await startEverywhere(`first-${turn}`));
		for (const id of running.splice(0)) for (const { client } of peers) await client.end(id);
		for (const count of [0, 50, 100]) {
			while (running.length < count) await startEverywhere(`idle-${running.length}`);
			await new Promise((rested) => setTimeout(rested, restMs));
			const [troupe = 0, containerd = 0] = peers.map(({ peer }) => pss(peer.processes()) / 1e6);
			rows.push({
				what: `memory (PSS), ${count} idle containers`,
				unit: "MB",
				troupe: summarize([troupe]),
				containerd: summarize([containerd]),
				goal: memoryGoals[count] ?? Number.POSITIVE_INFINITY,
			});
		}
		const full: number[][] = [];
		for (let turn = 0; turn < moreStarts; turn++) full.push(await startEverywhere(`more-${turn}`));
		const series = (times: number[][], peer: number) => summarize(times.map((pair) => pair[peer] ?? Number.NaN));
		rows.push({
			what: "start, empty daemon",
			unit: "ms",
			troupe: series(empty, 0),
			containerd: series(empty, 1),
			goal: 1,
		});
		rows.push({
			what: "start beside 100 idle",
			unit: "ms",
			troupe: series(full, 0),
			containerd: series(full, 1),
			goal: 1,
		});
	} finally {
		for (const id of running) for (const { client } of peers) await client.end(id);
	}
	return rows;
}
