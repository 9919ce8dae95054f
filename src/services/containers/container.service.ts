import {
	ContainersDefinition,
	type Container as WireContainer,
} from "../../gen/containerd/services/containers/v1/containers.ts";
import type { Container, ContainerDraft, ContainerStore } from "../../metadata/containers.ts";
import { type Service, service } from "../rpc.ts";
import { fromAny, fromAnyMap, required, toOptionalAny, toTimestamp } from "../wire.ts";

/** containerd.services.containers.v1.Containers: metadata only. Spec and extensions are kept byte for byte. */
export const containerService = (containers: ContainerStore): Service =>
	service(ContainersDefinition, {
		get: async ({ id }, { namespace }) => ({ container: toWire(containers.get(namespace, id)) }),
		list: async ({ filters }, { namespace }) => ({ containers: containers.list(namespace, filters).map(toWire) }),
		async *listStream({ filters }, { namespace }) {
			for (const container of containers.list(namespace, filters)) yield { container: toWire(container) };
		},
		async create({ container }, { namespace }) {
			const draft = fromWire(required(container, "container", "container"));
			return { container: toWire(await containers.create(namespace, draft)) };
		},
		async update({ container, updateMask }, { namespace }) {
			const next = fromWire(required(container, "container", "container"));
			return { container: toWire(await containers.update(namespace, next, updateMask)) };
		},
		async delete({ id }, { namespace }) {
			await containers.delete(namespace, id);
			return {};
		},
	});

function fromWire({ id, labels, image, runtime, spec, snapshotter, snapshotKey, extensions, sandbox }: WireContainer) {
	return {
		id,
		labels,
		image,
		runtime: { name: runtime?.name ?? "", options: fromAny(runtime?.options) },
		spec: fromAny(spec),
		snapshotter,
		snapshotKey,
		extensions: fromAnyMap(extensions),
		sandbox,
	} satisfies ContainerDraft;
}

const toWire = (container: Container): WireContainer => ({
	id: container.id,
	labels: { ...container.labels },
	image: container.image,
	runtime: { name: container.runtime.name, options: toOptionalAny(container.runtime.options) },
	spec: container.spec,
	snapshotter: container.snapshotter,
	snapshotKey: container.snapshotKey,
	createdAt: toTimestamp(container.createdAt),
	updatedAt: toTimestamp(container.updatedAt),
	extensions: { ...container.extensions },
	sandbox: container.sandbox,
});
