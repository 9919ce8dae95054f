import { access } from "node:fs/promises";
import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { defaultSnapshotter } from "../default-snapshotter.ts";
import { contentKey, imagesKey, namespacesKey, snapshottersKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { committedMounts } from "./committed-mounts.ts";
import { specService } from "./spec.service.ts";

export const specsPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.troupe-specs"),
	needs: { content: contentKey, images: imagesKey, namespaces: namespacesKey, snapshotters: snapshottersKey },
	start: async (_context, { content, images, namespaces, snapshotters }) =>
		specService({
			target: (namespace, image) => images.get(namespace, image).target,
			readBlob: (namespace, digest, limit) => content.readAll(namespace, digest, limit),
			defaultSnapshotter: defaultSnapshotter(namespaces),
			mountsOf: committedMounts(snapshotters),
			cgroupNamespace: await hasUnifiedCgroups(),
			kernel: nativeKernel,
		}),
});

const hasUnifiedCgroups = (): Promise<boolean> =>
	access("/sys/fs/cgroup/cgroup.controllers").then(
		() => true,
		() => false,
	);
