import * as z from "zod";
import { LocalContentStore } from "../../content/local-content-store.ts";
import { NamespacedContent } from "../../metadata/content.ts";
import { plugin } from "../../plugin/plugin.ts";
import { contentBackendKey, contentKey, storeKey } from "../../services/plugin-keys.ts";

const contentBackendPlugin = plugin({
	key: contentBackendKey,
	start: async ({ root, announce }) => {
		announce({ exports: { root } });
		return LocalContentStore.open(root);
	},
});

/** Section `[plugins."io.troupe.metadata.v1.content"]`. */
const config = z.strictObject({
	/** `shared`: who knows a digest that another namespace has, has the blob. `isolated`: the bytes must be given. */
	content_sharing_policy: z.enum(["shared", "isolated"]).default("shared"),
});

const namespacedContentPlugin = plugin({
	key: contentKey,
	needs: { store: storeKey, backend: contentBackendKey },
	config,
	start: ({ config: { content_sharing_policy: policy } }, { store, backend }) =>
		new NamespacedContent({ store, backend, policy }),
});

export const contentPlugins = [contentBackendPlugin, namespacedContentPlugin];
