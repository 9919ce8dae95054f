import { ContainersDefinition } from "../../gen/containerd/services/containers/v1/containers.ts";
import { SnapshotsDefinition } from "../../gen/containerd/services/snapshots/v1/snapshots.ts";
import type { Mount } from "../../gen/containerd/types/mount.ts";
import { type SpecOptions, SpecsDefinition } from "../../gen/troupe/v1/specs.ts";
import type { DaemonConnection } from "../daemon-connection.ts";
import { unlessMissing } from "../unless-missing.ts";

export interface ContainerPlan {
	readonly id: string;
	readonly image: string;
	readonly runtime: string;
	/** Empty: the daemon's default. */
	readonly snapshotter: string;
	readonly options: Partial<SpecOptions>;
	readonly labels: Readonly<Record<string, string>>;
}

export interface CreatedContainer {
	readonly id: string;
	/** What to mount as its root. */
	readonly rootfs: Mount[];
	/** Deletes the container and its snapshot. Both are tried; rejects with the first error. */
	remove(): Promise<void>;
}

/** Label by which ctr, nerdctl and we remember how an image's containers are stopped. */
export const stopSignalLabel = "io.containerd.image.config.stop-signal";

/** Twelve hex digits. Unique enough (the daemon refuses a second one), and not worth the 10 ms that loading node:crypto takes. */
export const randomContainerId = (): string =>
	Math.floor(Math.random() * 2 ** 48)
		.toString(16)
		.padStart(12, "0");

/**
 * Makes a container record and its snapshot. The record goes first, on the same connection: the daemon takes both in
 * order, so that the collector never sees a snapshot that nobody refers to. If either fails, the other is removed.
 */
export async function createContainer(daemon: DaemonConnection, plan: ContainerPlan): Promise<CreatedContainer> {
	const { id, image, runtime, options } = plan;
	const generated = await daemon
		.service(SpecsDefinition)
		.generate({ containerId: id, image, snapshotter: plan.snapshotter, options: specOptions(options) });
	const { spec, parent, snapshotter, stopSignal } = generated;
	const labels = { ...plan.labels, ...(stopSignal === "" ? {} : { [stopSignalLabel]: stopSignal }) };
	const containers = daemon.service(ContainersDefinition);
	const snapshots = daemon.service(SnapshotsDefinition);
	const deleteRecord = () => unlessMissing(() => containers.delete({ id }));
	// without its container the snapshot is the collector's, which may be faster than we are
	const deleteSnapshot = () => unlessMissing(() => snapshots.remove({ snapshotter, key: id }));
	const [record, snapshot] = await Promise.allSettled([
		containers.create({
			container: {
				id,
				image,
				labels,
				runtime: { name: runtime, options: undefined },
				spec,
				snapshotter,
				snapshotKey: id,
				createdAt: undefined,
				updatedAt: undefined,
				extensions: {},
				sandbox: "",
			},
		}),
		snapshots.prepare({ snapshotter, key: id, parent }),
	]);
	if (record.status === "rejected") {
		if (snapshot.status === "fulfilled") await deleteSnapshot();
		throw record.reason;
	}
	if (snapshot.status === "rejected") {
		await deleteRecord();
		throw snapshot.reason;
	}
	return {
		id,
		rootfs: snapshot.value.mounts,
		async remove() {
			const results = await Promise.allSettled([deleteRecord(), deleteSnapshot()]);
			for (const result of results) if (result.status === "rejected") throw result.reason;
		},
	};
}

const specOptions = (options: Partial<SpecOptions>): SpecOptions => ({
	args: [],
	env: [],
	terminal: false,
	readonlyRootfs: false,
	mounts: [],
	cgroupMount: false,
	rlimits: [],
	addCapabilities: [],
	dropCapabilities: [],
	hostNetwork: false,
	annotations: {},
	...options,
});
