import {
	Kind,
	SnapshotsDefinition,
	type Info as WireInfo,
} from "../../gen/containerd/services/snapshots/v1/snapshots.ts";
import type { Mount as WireMount } from "../../gen/containerd/types/mount.ts";
import type { Snapshot } from "../../metadata/snapshots.ts";
import type { Snapshotters } from "../../metadata/snapshotters.ts";
import type { SnapshotKind } from "../../snapshots/snapshotter.ts";
import type { Mount } from "../../sys/mounts.ts";
import { type Service, service } from "../rpc.ts";
import { required, toTimestamp } from "../wire.ts";

/** Snapshots in one message of List. */
const batch = 100;

/** containerd.services.snapshots.v1.Snapshots. Each request names its snapshotter. */
export const snapshotService = (snapshotters: Snapshotters): Service =>
	service(SnapshotsDefinition, {
		async prepare({ snapshotter, key, parent, labels }, call) {
			return { mounts: toWireMounts(await snapshotters.named(snapshotter).prepare(call, key, parent, labels)) };
		},
		async view({ snapshotter, key, parent, labels }, call) {
			return { mounts: toWireMounts(await snapshotters.named(snapshotter).view(call, key, parent, labels)) };
		},
		async mounts({ snapshotter, key }, { namespace }) {
			return { mounts: toWireMounts(await snapshotters.named(snapshotter).mounts(namespace, key)) };
		},
		/** A parent makes it a rebase: the snapshot was prepared on none. */
		async commit({ snapshotter, name, key, labels, parent }, call) {
			const options = { labels, signal: call.signal, ...(parent === "" ? {} : { parent }) };
			await snapshotters.named(snapshotter).commit(call, name, key, options);
			return {};
		},
		async remove({ snapshotter, key }, call) {
			await snapshotters.named(snapshotter).remove(call, key);
			return {};
		},
		async stat({ snapshotter, key }, { namespace }) {
			return { info: toWire(snapshotters.named(snapshotter).stat(namespace, key)) };
		},
		async update({ snapshotter, info, updateMask }, { namespace }) {
			const { name, labels } = required(info, "snapshot", "info");
			return { info: toWire(await snapshotters.named(snapshotter).update(namespace, name, labels, updateMask)) };
		},
		async *list({ snapshotter, filters }, { namespace }) {
			const snapshots = snapshotters.named(snapshotter).list(namespace, filters);
			for (let from = 0; from < snapshots.length; from += batch)
				yield { info: snapshots.slice(from, from + batch).map(toWire) };
		},
		usage: ({ snapshotter, key }, { namespace, signal }) =>
			snapshotters.named(snapshotter).usage(namespace, key, signal),
		async cleanup({ snapshotter }, { signal }) {
			await snapshotters.named(snapshotter).cleanup(signal);
			return {};
		},
	});

const kinds = {
	view: Kind.VIEW,
	active: Kind.ACTIVE,
	committed: Kind.COMMITTED,
} as const satisfies Record<SnapshotKind, Kind>;

const toWire = ({ key, parent, kind, createdAt, updatedAt, labels }: Snapshot): WireInfo => ({
	name: key,
	parent,
	kind: kinds[kind],
	createdAt: toTimestamp(createdAt),
	updatedAt: toTimestamp(updatedAt),
	labels: { ...labels },
});

const toWireMounts = (mounts: readonly Mount[]): WireMount[] =>
	mounts.map(({ type, source, target, options }) => ({ type, source, target, options: [...options] }));
