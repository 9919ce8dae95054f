import { existsSync, globSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { LeasesDefinition } from "../../src/gen/containerd/services/leases/v1/leases.ts";
import { SnapshotsDefinition } from "../../src/gen/containerd/services/snapshots/v1/snapshots.ts";
import { TasksDefinition } from "../../src/gen/containerd/services/tasks/v1/tasks.ts";
import { DaemonUnderTest } from "../fixtures/daemon-under-test.ts";
import { within } from "../fixtures/deadline.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { Ledger } from "./ledger.ts";
import { Mortals } from "./mortals.ts";
import { pause, persistently } from "./persistent.ts";
import { Random } from "./random.ts";
import { Workload } from "./workload.ts";

export interface ChaosOptions {
	readonly seed: number;
	/** Processes to kill. */
	readonly kills: number;
	/** Containers at once. */
	readonly slots: number;
	readonly say: (text: string) => void;
}

export interface Summary {
	readonly seed: number;
	readonly kills: Readonly<Record<string, number>>;
	readonly lives: number;
	readonly execs: number;
	/** Told once, with the kernel's status. */
	readonly exits: number;
	/** Told as unknown (255) because daemon, shard and standby were all dead at the moment. */
	readonly unknown: number;
	readonly seconds: number;
	/** Empty when model and world agree. */
	readonly problems: readonly string[];
	/** Kills and restarts with their times, and the stories of the unknown exits. */
	readonly history: readonly string[];
}

const lease = "chaos";

/**
 * Containers live while daemon and shims die at random; then everything is taken away, and what was told and what is left
 * are compared with what should be. The seed decides who does what; the moments are the machine's.
 */
export async function chaos({ seed, kills, slots, say }: ChaosOptions): Promise<Summary> {
	const began = Date.now();
	const random = new Random(seed);
	const shardSize = random.pick([8, 16, 64]);
	const daemon = await DaemonUnderTest.open(
		`shard_size = ${shardSize}\nidle_ms = ${random.pick([200, 2_000])}\n[plugins."io.containerd.metadata.v1.rocksdb"]\njournal_records = 10000000\n`,
	);
	const ledger: Ledger = new Ledger((from, to) => mortals.allAbsent(from, to));
	const mortals: Mortals = new Mortals(daemon, random.fork("kills"), (text) => ledger.problem(text));
	const { socket, namespace, image, directory } = daemon;
	const output = join(directory, "output");
	mkdirSync(output);
	await daemon.succeed("pull", image.reference);
	await connect(socket, namespace, LeasesDefinition).create({ id: lease });
	const parent = image.chainIds.at(-1) ?? "";
	const workload = new Workload({ socket, namespace, lease, parent, directory: output, ledger });

	let raging = true;
	const slot = async (name: string): Promise<void> => {
		const own = random.fork(name);
		for (let number = 0; raging && ledger.problems.length < 20; number++) {
			const id = `${name}-${number}`;
			await pause(own.integer(0, 500));
			try {
				await workload.live(id, own);
			} catch (reason) {
				const actor = await daemon.actor(`/task-manager/${namespace}/${id}`).catch(String);
				ledger.problem(`${id}: ${reason instanceof Error ? reason.message : String(reason)}; its actor: ${actor}`);
			}
		}
	};
	const slotsDone = Promise.all(Array.from({ length: slots }, (_, index) => slot(`s${index}`)));
	let said = 0;
	await mortals.rage(kills, (count) => {
		if (count - said < 100) return;
		said = count;
		say(`${count} kills, ${workload.lives} lives, ${workload.execs} execs, ${ledger.problems.length} problems`);
	});
	raging = false;
	await slotsDone;
	await readJournal(daemon, ledger);
	ledger.close();
	for (const problem of await remains(daemon, parent)) ledger.problem(problem);
	for (const problem of await afterTheEnd(daemon)) ledger.problem(problem);
	if (ledger.problems.length === 0) await daemon.close();
	else await daemon.abandon();
	return {
		seed,
		kills: mortals.kills,
		lives: workload.lives,
		execs: workload.execs,
		exits: ledger.exits,
		unknown: ledger.unknown.length,
		seconds: Math.round((Date.now() - began) / 1_000),
		problems: ledger.problems,
		history: [...mortals.history, ...ledger.unknown],
	};
}

/** Everything that was ever told, from the durable journal. */
async function readJournal(daemon: DaemonUnderTest, ledger: Ledger): Promise<void> {
	try {
		for await (const event of daemon.events(
			`namespace=${daemon.namespace}&topic=/tasks&actor=/task-manager&since=0&follow=false`,
		))
			ledger.tell(event);
	} catch (reason) {
		if (!String(reason).includes("closed")) throw reason; // the end of what was asked for
	}
}

/** What the API and the host still show although every container was taken away. */
async function remains({ socket, namespace }: DaemonUnderTest, parent: string): Promise<string[]> {
	const tasks = connect(socket, namespace, TasksDefinition);
	const snapshots = connect(socket, namespace, SnapshotsDefinition);
	const left = (await persistently("list", () => tasks.list({}))).tasks.map(({ id }) => `task ${id} is still listed`);
	const keys: string[] = [];
	for await (const { info } of snapshots.list({ snapshotter: "overlayfs" }))
		for (const { name } of info) if (name !== parent) keys.push(`snapshot ${name} is still there`);
	return [...left, ...keys];
}

/** An orderly stop; then shims without containers end by themselves, and nothing at all is left. */
async function afterTheEnd(daemon: DaemonUnderTest): Promise<string[]> {
	await daemon.stop();
	const problems: string[] = [];
	try {
		await within(120_000, "the idle shims end by themselves", async (signal) => {
			while (daemon.shims().length > 0) {
				signal.throwIfAborted();
				await pause(50);
			}
		});
	} catch (reason) {
		problems.push(String(reason));
	}
	problems.push(...daemon.leftovers());
	const { directory, namespace } = daemon;
	const patterns = ["s/*", "state/io.troupe.shims/journal/*", `state/io.troupe.shims/oci/${namespace}/*`];
	for (const pattern of patterns) problems.push(...globSync(join(directory, pattern)).map((path) => `left: ${path}`));
	const work = join(directory, "root/io.containerd.runtime.v2.task", namespace);
	if (existsSync(work)) problems.push(...readdirSync(work).map((name) => `left: ${join(work, name)}`));
	return problems;
}
