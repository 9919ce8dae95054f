import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { garbageCollectorKey, imagesKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { imageService } from "./image.service.ts";

export const imagesPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.images"),
	needs: { images: imagesKey, gc: garbageCollectorKey },
	start: (_context, { images, gc }) => imageService(images, gc),
});
