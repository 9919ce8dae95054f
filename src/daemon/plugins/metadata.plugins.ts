import { ContainerStore } from "../../metadata/containers.ts";
import { ImageStore } from "../../metadata/images.ts";
import { LeaseStore } from "../../metadata/leases.ts";
import { NamespaceStore } from "../../metadata/namespaces.ts";
import { plugin } from "../../plugin/plugin.ts";
import { containersKey, imagesKey, leasesKey, namespacesKey, storeKey } from "../../services/plugin-keys.ts";

const needs = { store: storeKey };

export const metadataPlugins = [
	plugin({ key: namespacesKey, needs, start: (_context, { store }) => new NamespaceStore(store) }),
	plugin({ key: containersKey, needs, start: (_context, { store }) => new ContainerStore(store) }),
	plugin({ key: imagesKey, needs, start: (_context, { store }) => new ImageStore(store) }),
	plugin({ key: leasesKey, needs, start: (_context, { store }) => new LeaseStore(store) }),
];
