import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ContainersDefinition } from "../../src/gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../../src/gen/containerd/services/snapshots/v1/snapshots.ts";
import { TasksDefinition } from "../../src/gen/containerd/services/tasks/v1/tasks.ts";
import { Options } from "../../src/gen/containerd/types/runc/options/oci.ts";
import { connect } from "../fixtures/grpc-client.ts";
import { runtimeSpec } from "../fixtures/runtime-spec.ts";
import { CommandLineError, execute } from "./execute.ts";
import type { Peer } from "./peers.ts";

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
					value: Buffer.from(JSON.stringify(runtimeSpec(`/troupe-bench/${this.#peer.name}-${id}`, args))),
				},
			},
		});
		await this.#tasks.create({ containerId: id, rootfs: mounts, options: this.#options });
		await this.#tasks.start({ containerId: id });
	}

	/** The whole life: start, wait for the exit, delete task, container and snapshot. Resolves with the exit code. */
	async live(id: string, args: readonly string[]): Promise<number> {
		const { mounts } = await this.#snapshots.prepare({ snapshotter: "overlayfs", key: id, parent: this.#parent });
		await this.#containers.create({
			container: {
				id,
				snapshotter: "overlayfs",
				snapshotKey: id,
				runtime: { name: this.#peer.runtime, options: this.#options },
				spec: {
					typeUrl: specType,
					value: Buffer.from(JSON.stringify(runtimeSpec(`/troupe-bench/${this.#peer.name}-${id}`, args))),
				},
			},
		});
		await this.#tasks.create({ containerId: id, rootfs: mounts, options: this.#options });
		const exit = this.#tasks.wait({ containerId: id });
		await this.#tasks.start({ containerId: id });
		const { exitStatus } = await exit;
		await this.#deleteAll(id);
		return exitStatus;
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

/** The bare OCI runtime: create, start, wait for the end, delete, on a root file system that is already there. */
export class BareRuntime {
	readonly #runtime: string;
	readonly #directory: string;

	constructor(runtime: string, directory: string) {
		this.#runtime = runtime;
		this.#directory = directory;
	}

	async live(id: string, rootfs: string, args: readonly string[]): Promise<void> {
		const bundle = mkdtempSync(join(this.#directory, "bundle-"));
		writeFileSync(
			join(bundle, "config.json"),
			JSON.stringify({ ...runtimeSpec(`/troupe-bench/bare-${id}`, args), root: { path: rootfs } }),
		);
		const root = ["--root", join(this.#directory, "state")];
		await execute(this.#runtime, [...root, "create", "--bundle", bundle, id]);
		await execute(this.#runtime, [...root, "start", id]);
		for (;;) {
			try {
				await execute(this.#runtime, [...root, "delete", id]);
				break;
			} catch (error) {
				if (!(error instanceof CommandLineError)) throw error; // still running: its init has not ended yet
			}
		}
		rmSync(bundle, { recursive: true });
	}
}
