import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { defaultSnapshotter } from "../default-snapshotter.ts";
import { imagePullerKey, imagesKey, namespacesKey, streamsKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { transferService } from "./transfer.service.ts";

export const transferPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.transfer"),
	needs: { puller: imagePullerKey, images: imagesKey, streams: streamsKey, namespaces: namespacesKey },
	start: (_context, { puller, images, streams, namespaces }) =>
		transferService({ puller, images, streams, defaultSnapshotter: defaultSnapshotter(namespaces) }),
});
