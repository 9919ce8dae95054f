import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { contentKey, treesKey, unpackerKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { diffService } from "./diff.service.ts";

export const diffPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.diff"),
	needs: { content: contentKey, unpacker: unpackerKey, trees: treesKey },
	start: (_context, { content, unpacker, trees }) =>
		diffService({ blobPath: async (namespace, digest) => content.path(namespace, digest) }, unpacker, trees),
});
