import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { contentKey, unpackerKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { diffService } from "./diff.service.ts";

export const diffPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.diff"),
	needs: { content: contentKey, unpacker: unpackerKey },
	start: (_context, { content, unpacker }) =>
		diffService({ blobPath: async (namespace, digest) => content.path(namespace, digest) }, unpacker),
});
