import { closeSync, constants, openSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import { ContainersDefinition } from "../../src/gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../../src/gen/containerd/services/snapshots/v1/snapshots.ts";
import { TasksDefinition } from "../../src/gen/containerd/services/tasks/v1/tasks.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { Status } from "../../src/gen/containerd/types/task/task.ts";
import { failedWith } from "../../src/sys/sys-error.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { mkfifo } from "../integration/shim-host.ts";
import type { Ledger } from "./ledger.ts";
import { Again, codeOf, isPassing, pause, persistently } from "./persistent.ts";
import type { Random } from "./random.ts";
import { execSpecOf, type Program, programs, specOf } from "./specs.ts";

export interface WorkloadOptions {
	readonly socket: string;
	readonly namespace: string;
	readonly lease: string;
	/** Chain ID of the image's top layer. */
	readonly parent: string;
	/** For the FIFOs of the containers' output. */
	readonly directory: string;
	readonly ledger: Ledger;
}

interface Stdio {
	readonly stdin: string;
	readonly stdout: string;
	readonly terminal: boolean;
}

const callMs = 20_000;
const options = () => ({ deadline: Date.now() + callMs });

/** What one client does, container after container, whatever becomes of the daemon meanwhile. */
export class Workload {
	readonly #tasks;
	readonly #containers;
	readonly #snapshots;
	readonly #parent: string;
	readonly #namespace: string;
	readonly #directory: string;
	readonly #ledger: Ledger;
	lives = 0;
	execs = 0;

	constructor({ socket, namespace, lease, parent, directory, ledger }: WorkloadOptions) {
		this.#tasks = connect(socket, namespace, TasksDefinition);
		this.#containers = connect(socket, namespace, ContainersDefinition);
		this.#snapshots = connect(socket, namespace, SnapshotsDefinition, lease);
		this.#parent = parent;
		this.#namespace = namespace;
		this.#directory = directory;
		this.#ledger = ledger;
	}

	/** One life: made, used, ended, and taken away. Rejects when something is stuck or refused that should not be. */
	async live(id: string, random: Random): Promise<void> {
		this.lives++;
		const program = random.pick(programs);
		const code = random.integer(1, 99);
		const terminal = random.chance(0.15);
		const output = random.chance(0.4) ? new Output(join(this.#directory, `${id}.out`)) : undefined;
		const stdin = random.chance(0.2) ? mkfifo(join(this.#directory, `${id}.in`)) : "";
		const runtime = random.pick(["crun", "runc"]);
		// A terminal whose master died with shard and standby hangs up.
		this.#ledger.expect(id, "", [program === "sleeps" ? 137 : code, ...(terminal ? [129] : [])]);
		try {
			await this.#prepare(id, specOf(this.#namespace, id, program, code, random.integer(0, 3_000), terminal));
			await this.#create(id, { stdin, stdout: output?.path ?? "", terminal }, runtime, random);
			if (random.chance(0.05)) await this.#kill(id, "", 9);
			else {
				await this.#start(id, "");
				await this.#use(id, random);
				await this.#end(id, program, random);
			}
			const exited = await this.#exit(id, "");
			// What a shard has read of a terminal and not written yet dies with it.
			if (output !== undefined && exited === code && program === "exits" && !terminal)
				output.require(`begin ${id}\nend ${id}\n`);
			await this.#delete(id, "", exited);
		} finally {
			output?.close();
			if (stdin !== "") rmSync(stdin);
		}
		await this.#forget(id);
	}

	/** What a well-behaved client does between start and end. */
	async #use(id: string, random: Random): Promise<void> {
		for (let act = random.integer(0, 4); act > 0; act--) {
			await pause(random.integer(0, 300));
			if (random.chance(0.6)) await this.#exec(id, `e${act}`, random);
			else await this.#freeze(id, random);
		}
	}

	async #end(id: string, program: Program, random: Random): Promise<void> {
		await pause(random.integer(0, 1_000));
		if (program === "sleeps" || random.chance(0.2)) await this.#kill(id, "", 9);
		// Before its trap is set an init does not see the signal: it is told until it obeys.
		else if (program === "obeys")
			while (!(await this.#ended(id))) {
				await this.#kill(id, "", 15);
				await pause(200);
			}
	}

	async #prepare(id: string, spec: ReturnType<typeof specOf>): Promise<void> {
		await persistently(`prepare ${id}`, async () => {
			try {
				await this.#snapshots.prepare({ snapshotter: "overlayfs", key: id, parent: this.#parent }, options());
			} catch (reason) {
				if (codeOf(reason) !== status.ALREADY_EXISTS) throw reason;
			}
			return true;
		});
		await persistently(`container ${id}`, async () => {
			try {
				const runtime = { name: "io.containerd.troupe.v2" };
				await this.#containers.create(
					{ container: { id, snapshotter: "overlayfs", snapshotKey: id, runtime, spec } },
					options(),
				);
			} catch (reason) {
				if (codeOf(reason) !== status.ALREADY_EXISTS) throw reason;
			}
			return true;
		});
	}

	async #create(id: string, stdio: Stdio, runtime: string, random: Random): Promise<void> {
		const impatient = random.chance(0.1);
		let first = true;
		await persistently(`create ${id}`, async () => {
			const { mounts } = await this.#snapshots.mounts({ snapshotter: "overlayfs", key: id }, options());
			try {
				// Some callers go away in the middle, and come back.
				const limit = impatient && first ? { deadline: Date.now() + random.integer(1, 80) } : options();
				first = false;
				const request = { containerId: id, rootfs: mounts, ...stdio, options: runcOptions(runtime) };
				const { pid } = await this.#tasks.create(request, limit);
				this.#ledger.made(id, "", pid);
				return true;
			} catch (reason) {
				if (codeOf(reason) !== status.ALREADY_EXISTS && !isPassing(reason)) throw reason;
				return (await this.#state(id, "")) === undefined ? new Again(reason) : true;
			}
		});
	}

	async #start(id: string, execId: string): Promise<void> {
		await persistently(`start ${id}/${execId}`, async () => {
			try {
				const { pid } = await this.#tasks.start({ containerId: id, execId }, options());
				this.#ledger.made(id, execId, pid);
				return true;
			} catch (reason) {
				const code = codeOf(reason);
				if (execId !== "" && (await this.#ended(id))) return true; // it goes with its container, whatever the runtime says
				const state = await this.#state(id, execId);
				if (state === Status.STOPPED) return true; // before it could be started
				if (code !== status.FAILED_PRECONDITION && !(code === status.NOT_FOUND && execId !== "") && !isPassing(reason))
					throw reason;
				return state === undefined || state === Status.CREATED || state === Status.UNKNOWN ? new Again(reason) : true;
			}
		});
	}

	async #exec(id: string, execId: string, random: Random): Promise<void> {
		const code = random.integer(1, 99);
		const sleeps = random.chance(0.3);
		// it may go with its container
		const terminal = random.chance(0.15);
		this.#ledger.expect(id, execId, [code, 137, ...(terminal ? [129] : [])]);
		const added = await persistently(`exec ${id}/${execId}`, async () => {
			try {
				const spec = execSpecOf(code, sleeps ? 100_000 : random.integer(0, 300));
				await this.#tasks.exec({ containerId: id, execId, spec, terminal }, options());
				return "yes";
			} catch (reason) {
				const refusal = codeOf(reason);
				if (refusal === status.ALREADY_EXISTS)
					return (await this.#state(id, execId)) === undefined ? new Again(reason) : "yes";
				if (refusal === status.FAILED_PRECONDITION || refusal === status.NOT_FOUND) {
					const state = await this.#state(id, "");
					return state === Status.STOPPED || state === undefined ? "no" : new Again(reason);
				}
				throw reason;
			}
		});
		if (added === "no") return;
		this.execs++;
		await this.#start(id, execId);
		await pause(random.integer(0, 300));
		const done = await persistently(`end of ${id}/${execId}`, async () => {
			const state = await this.#state(id, execId);
			if (state === undefined || (state === Status.CREATED && (await this.#ended(id)))) return "with its container";
			if (state === Status.STOPPED) return "by itself";
			if (sleeps && state === Status.RUNNING) await this.#kill(id, execId, 9);
			return new Again(`its state is ${state}`);
		});
		if (done === "by itself") await this.#delete(id, execId, await this.#exit(id, execId));
	}

	async #freeze(id: string, random: Random): Promise<void> {
		const settled = async (want: Status, call: () => Promise<unknown>) =>
			persistently(`state ${want} of ${id}`, async () => {
				try {
					await call();
					return true;
				} catch (reason) {
					const code = codeOf(reason);
					if (code !== status.FAILED_PRECONDITION && code !== status.NOT_FOUND && !isPassing(reason)) throw reason;
					const state = await this.#state(id, "");
					return state === want || state === Status.STOPPED ? true : new Again(reason);
				}
			});
		await settled(Status.PAUSED, () => this.#tasks.pause({ containerId: id }, options()));
		await pause(random.integer(0, 200));
		await settled(Status.RUNNING, () => this.#tasks.resume({ containerId: id }, options()));
	}

	async #kill(id: string, execId: string, signal: number): Promise<void> {
		if (signal === 9) this.#ledger.expect(id, execId, [137]);
		await persistently(`kill ${id}/${execId}`, async () => {
			try {
				await this.#tasks.kill({ containerId: id, execId, signal }, options());
				return true;
			} catch (reason) {
				if (codeOf(reason) === status.NOT_FOUND) return true; // it has ended
				if (codeOf(reason) !== status.FAILED_PRECONDITION) throw reason;
				return new Again(reason);
			}
		});
	}

	/** Waits as a client does: a wait that breaks is asked again. */
	async #exit(id: string, execId: string): Promise<number> {
		const exited = await persistently(`wait ${id}/${execId}`, async () => {
			const { exitStatus } = await this.#tasks.wait({ containerId: id, execId }, options());
			return { exitStatus };
		});
		this.#ledger.answered(id, execId, exited.exitStatus);
		return exited.exitStatus;
	}

	async #delete(id: string, execId: string, exited: number): Promise<void> {
		let tries = 0;
		await persistently(`delete ${id}/${execId}`, async () => {
			tries++;
			try {
				const { exitStatus } =
					execId === ""
						? await this.#tasks.delete({ containerId: id }, options())
						: await this.#tasks.deleteProcess({ containerId: id, execId }, options());
				this.#ledger.answered(id, execId, exitStatus);
				return true;
			} catch (reason) {
				const code = codeOf(reason);
				if (code === status.NOT_FOUND && tries > 1) return true; // by the attempt that was not answered
				if (code === status.FAILED_PRECONDITION && tries < 200) return new Again(reason);
				if (code === status.NOT_FOUND)
					throw new Error(`unknown although it has ended with ${exited}`, { cause: reason });
				throw reason;
			}
		});
	}

	async #forget(id: string): Promise<void> {
		const calls = [
			() => this.#containers.delete({ id }, options()),
			() => this.#snapshots.remove({ snapshotter: "overlayfs", key: id }, options()),
		];
		for (const call of calls)
			await persistently(`forget ${id}`, async () => {
				try {
					await call();
				} catch (reason) {
					if (codeOf(reason) !== status.NOT_FOUND) throw reason;
				}
				return true;
			});
	}

	async #ended(id: string): Promise<boolean> {
		const state = await this.#state(id, "");
		return state === undefined || state === Status.STOPPED;
	}

	/** Undefined: there is none of that name. */
	#state(containerId: string, execId: string): Promise<Status | undefined> {
		return persistently(`get ${containerId}/${execId}`, async () => {
			try {
				const { process } = await this.#tasks.get({ containerId, execId }, options());
				if (process !== undefined) this.#ledger.made(containerId, execId, process.pid);
				return { status: process?.status };
			} catch (reason) {
				if (codeOf(reason) === status.NOT_FOUND) return { status: undefined };
				throw reason;
			}
		}).then((found) => found.status);
	}
}

/** containerd.runc.v1.Options with its field 3, binary_name. */
const runcOptions = (binaryName: string) => ({
	typeUrl: "containerd.runc.v1.Options",
	value: Options.encode(Options.fromPartial({ binaryName })).finish(),
});

/** The reading end of a container's output: opened before the container, so that nothing waits for it. */
class Output {
	readonly path: string;
	readonly #descriptor: number;
	#text = "";

	constructor(path: string) {
		this.path = mkfifo(path);
		this.#descriptor = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
	}

	/** What was written before the exit is there when the exit is told. */
	require(text: string): void {
		this.#read();
		if (this.#text !== text)
			throw new Error(`output of ${this.path}: ${JSON.stringify(this.#text)}, not ${JSON.stringify(text)}`);
	}

	close(): void {
		closeSync(this.#descriptor);
		rmSync(this.path, { force: true });
	}

	#read(): void {
		const buffer = Buffer.alloc(4096);
		try {
			for (;;) this.#text += buffer.toString("utf8", 0, readSync(this.#descriptor, buffer));
		} catch (reason) {
			if (!failedWith(reason, "EAGAIN")) throw reason;
		}
	}
}
