import { randomBytes } from "node:crypto";
import {
	LeasesDefinition,
	type Resource,
	type Lease as WireLease,
} from "../../gen/containerd/services/leases/v1/leases.ts";
import type { GarbageCollector } from "../../metadata/gc/garbage-collector.ts";
import type { Lease, LeaseStore } from "../../metadata/leases.ts";
import { type Service, service } from "../rpc.ts";
import { required, toTimestamp } from "../wire.ts";

/** containerd.services.leases.v1.Leases: what keeps content and snapshots alive while somebody works with them. */
export const leaseService = (leases: LeaseStore, gc: Pick<GarbageCollector, "runOnce">): Service =>
	service(LeasesDefinition, {
		async create({ id, labels }, { namespace }) {
			const lease = { id: id === "" ? randomLeaseId() : id, labels };
			return { lease: toWire(await leases.create(namespace, lease)) };
		},
		async delete({ id, sync }, { namespace, signal }) {
			await leases.delete(namespace, id);
			if (sync) await gc.runOnce(signal); // "sync": the caller waits until the space is free
			return {};
		},
		list: async ({ filters }, { namespace }) => ({ leases: leases.list(namespace, filters).map(toWire) }),
		async addResource({ id, resource }, { namespace }) {
			await leases.addResource(namespace, id, resourceOf(resource));
			return {};
		},
		async deleteResource({ id, resource }, { namespace }) {
			await leases.deleteResource(namespace, id, resourceOf(resource));
			return {};
		},
		listResources: async ({ id }, { namespace }) => ({
			resources: leases.listResources(namespace, id).map((resource) => ({ ...resource })),
		}),
	});

/** As containerd's: the time, and what makes two of one moment differ. */
const randomLeaseId = (): string => `${process.hrtime.bigint()}-${randomBytes(3).toString("base64url")}`;

const resourceOf = (resource: Resource | undefined): Resource => required(resource, "lease", "resource");

const toWire = ({ id, labels, createdAt }: Lease): WireLease => ({
	id,
	labels: { ...labels },
	createdAt: toTimestamp(createdAt),
});
