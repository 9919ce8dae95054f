import {
	NamespacesDefinition,
	type Namespace as WireNamespace,
} from "../../gen/containerd/services/namespaces/v1/namespace.ts";
import type { Namespace, NamespaceStore } from "../../metadata/namespaces.ts";
import { type Service, service } from "../rpc.ts";
import { required } from "../wire.ts";

/** containerd.services.namespaces.v1.Namespaces. Needs no namespace; List has a filter that containerd ignores too. */
export const namespaceService = (namespaces: NamespaceStore): Service =>
	service(NamespacesDefinition, {
		get: async ({ name }) => ({ namespace: toWire(namespaces.get(name)) }),
		list: async () => ({ namespaces: namespaces.list().map(toWire) }),
		async create({ namespace }) {
			const { name, labels } = required(namespace, "namespace", "namespace");
			return { namespace: toWire(await namespaces.create(name, labels)) };
		},
		async update({ namespace, updateMask }) {
			const { name, labels } = required(namespace, "namespace", "namespace");
			return { namespace: toWire(await namespaces.update(name, labels, updateMask)) };
		},
		async delete({ name }) {
			await namespaces.delete(name);
			return {};
		},
	});

const toWire = ({ name, labels }: Namespace): WireNamespace => ({ name, labels: { ...labels } });
