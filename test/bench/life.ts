import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findExecutable } from "../../shim/oci-runtime.ts";
import { ContainersDefinition } from "../../src/gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../../src/gen/containerd/services/snapshots/v1/snapshots.ts";
import { TasksDefinition } from "../../src/gen/containerd/services/tasks/v1/tasks.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { nativeKernel } from "../../src/sys/native-kernel.ts";
import { openPidfd } from "../../src/sys/pidfd.ts";
import { spawn } from "../../src/sys/spawn.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { runtimeSpec } from "../fixtures/runtime-spec.ts";
import type { Peer } from "./peers.ts";
import { namespace } from "./stage.ts";

/** Milliseconds of a life and of its parts. */
export interface LifeTimes {
	/** All of it; through the API with snapshot and container. */
	readonly life: number;
	/** create, start, exit and delete of the task alone: what the bare runtime does as well. */
	readonly task: number;
	readonly create: number;
	readonly start: number;
	/** From the answer to start until the exit is known. */
	readonly exit: number;
	readonly delete: number;
}

class StopWatch {
	readonly #start = performance.now();
	#last = this.#start;

	lap(): number {
		const before = this.#last;
		this.#last = performance.now();
		return this.#last - before;
	}

	total(): number {
		return performance.now() - this.#start;
	}
}

const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/** One client of one peer: what the benchmark does with containers, through the same API everywhere. */
export class LifeClient {
	readonly #peer: Peer;
	readonly #containers;
	readonly #snapshots;
	readonly #tasks;
	readonly #parent: string;
	readonly #options: { typeUrl: string; value: Uint8Array };

	/** `lease` keeps a snapshot from the garbage collector until its container refers to it, as clients do. */
	constructor(peer: Peer, namespace: string, parent: string, ociRuntime: string, lease: string) {
		this.#peer = peer;
		this.#parent = parent;
		this.#containers = connect(peer.socket, namespace, ContainersDefinition);
		this.#snapshots = connect(peer.socket, namespace, SnapshotsDefinition, lease);
		this.#tasks = connect(peer.socket, namespace, TasksDefinition);
		const options = Options.encode(Options.fromPartial({ binaryName: ociRuntime })).finish();
		this.#options = { typeUrl: "containerd.runc.v1.Options", value: options };
	}

	/** Snapshot, container, task, start: the container runs when this resolves. */
	async start(id: string, args: readonly string[]): Promise<void> {
		const { mounts } = await this.#snapshots.prepare({ snapshotter: "overlayfs", key: id, parent: this.#parent });
		await this.#containers.create({
			container: {
				id,
				snapshotter: "overlayfs",
				snapshotKey: id,
				runtime: { name: this.#peer.runtime, options: this.#options },
				spec: {
					typeUrl: specType,
					value: Buffer.from(JSON.stringify(runtimeSpec(`/${namespace}/${this.#peer.name}-${id}`, args))),
				},
			},
		});
		await this.#tasks.create({ containerId: id, rootfs: mounts, options: this.#options });
		await this.#tasks.start({ containerId: id });
	}

	/** The whole life: start, wait for the exit, delete task, container and snapshot. */
	async live(id: string, args: readonly string[]): Promise<LifeTimes> {
		const clock = new StopWatch();
		const { mounts } = await this.#snapshots.prepare({ snapshotter: "overlayfs", key: id, parent: this.#parent });
		await this.#containers.create({
			container: {
				id,
				snapshotter: "overlayfs",
				snapshotKey: id,
				runtime: { name: this.#peer.runtime, options: this.#options },
				spec: {
					typeUrl: specType,
					value: Buffer.from(JSON.stringify(runtimeSpec(`/${namespace}/${this.#peer.name}-${id}`, args))),
				},
			},
		});
		clock.lap();
		await this.#tasks.create({ containerId: id, rootfs: mounts, options: this.#options });
		const create = clock.lap();
		const waited = this.#tasks.wait({ containerId: id });
		await this.#tasks.start({ containerId: id });
		const start = clock.lap();
		const { exitStatus } = await waited;
		const exit = clock.lap();
		if (exitStatus !== 0) throw new Error(`container ${id} ended with ${exitStatus}`);
		await this.#tasks.delete({ containerId: id });
		const deletion = clock.lap();
		await this.#snapshots.remove({ snapshotter: "overlayfs", key: id });
		await this.#containers.delete({ id });
		return { life: clock.total(), task: create + start + exit + deletion, create, start, exit, delete: deletion };
	}

	/** Kills and removes what start() made. */
	async end(id: string): Promise<void> {
		const exit = this.#tasks.wait({ containerId: id });
		await this.#tasks.kill({ containerId: id, signal: 9 });
		await exit;
		await this.#deleteAll(id);
	}

	async #deleteAll(id: string): Promise<void> {
		await this.#tasks.delete({ containerId: id });
		await this.#snapshots.remove({ snapshotter: "overlayfs", key: id });
		await this.#containers.delete({ id });
	}
}

/**
 * The bare OCI runtime: create, start, delete, one process each, on a root file system that is already there. The end of
 * the init is learnt from a pidfd: a loop of `delete` until it succeeds would measure how often it fails.
 */
export class BareRuntime {
	readonly #runtime: string;
	readonly #directory: string;

	constructor(runtime: string, directory: string) {
		const file = findExecutable(runtime);
		if (file === undefined) throw new Error(`${runtime} is not installed`);
		this.#runtime = file;
		this.#directory = directory;
	}

	async live(id: string, rootfs: string, args: readonly string[]): Promise<LifeTimes> {
		const clock = new StopWatch();
		const bundle = mkdtempSync(join(this.#directory, "bundle-"));
		writeFileSync(
			join(bundle, "config.json"),
			JSON.stringify({ ...runtimeSpec(`/${namespace}/bare-${id}`, args), root: { path: rootfs } }),
		);
		const root = ["--root", join(this.#directory, "state")];
		const pidFile = join(bundle, "pid");
		clock.lap();
		await this.#run([...root, "create", "--bundle", bundle, "--pid-file", pidFile, id]);
		const create = clock.lap();
		const ended = endOf(Number(readFileSync(pidFile, "utf8")));
		await this.#run([...root, "start", id]);
		const start = clock.lap();
		await ended;
		const exit = clock.lap();
		await this.#run([...root, "delete", id]);
		const deletion = clock.lap();
		rmSync(bundle, { recursive: true });
		return { life: clock.total(), task: create + start + exit + deletion, create, start, exit, delete: deletion };
	}

	/** As the shim does: Node's own child processes take 1.4 ms longer each. */
	async #run(args: readonly string[]): Promise<void> {
		const errors = join(this.#directory, "bare-errors");
		const [nothing, log] = [openSync("/dev/null", "r+"), openSync(errors, "w")];
		const environment = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
		const descriptors = [nothing, nothing, log];
		try {
			const pid = spawn(nativeKernel, { file: this.#runtime, args, environment, descriptors });
			await endOf(pid);
			const status = Buffer.alloc(4);
			nativeKernel.waitpid(pid, status, 0);
			if (status.readInt32LE() !== 0)
				throw new Error(`${this.#runtime} ${args.join(" ")}: ${readFileSync(errors, "utf8").trim()}`);
		} finally {
			closeSync(nothing);
			closeSync(log);
		}
	}
}

/** Resolves when the process has ended, whoever its parent is. */
async function endOf(pid: number): Promise<void> {
	const pidfd = openPidfd(nativeKernel, pid);
	if (pidfd === undefined) return;
	const ended = Promise.withResolvers<void>();
	const poll = nativeKernel.poll(pidfd, () => ended.resolve());
	await ended.promise;
	poll.close();
	nativeKernel.close(pidfd);
}
