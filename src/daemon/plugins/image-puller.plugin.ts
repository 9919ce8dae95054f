import * as z from "zod";
import { ImageActors } from "../../../actors/images/image-actors.ts";
import { ImagePuller } from "../../images/image-puller.ts";
import { defaultHostDirectories } from "../../images/registry/host-directory.ts";
import { StoredImages } from "../../images/stored-images.ts";
import { plugin } from "../../plugin/plugin.ts";
import {
	contentBackendKey,
	contentKey,
	imagePullerKey,
	imagesKey,
	leasesKey,
	snapshotterBackends,
	snapshottersKey,
	systemKey,
	unpackerKey,
} from "../../services/plugin-keys.ts";

/** Section `[plugins."io.containerd.transfer.v1.pull"]`. */
const config = z.strictObject({
	/** Layers fetched at once, over all pulls. */
	max_concurrent_downloads: z.int().positive().default(3),
	/** Where a registry's directory with hosts.toml is looked for, first to last. */
	config_path: z.array(z.string()).default([...defaultHostDirectories]),
	/** A server that is silent for so long is given up. */
	image_pull_progress_timeout_ms: z.int().positive().default(60_000),
});

/** Pulls, and the branch of the actor tree that does them. */
export const imagePullerPlugin = plugin({
	key: imagePullerKey,
	needs: {
		system: systemKey,
		content: contentKey,
		blobs: contentBackendKey,
		images: imagesKey,
		leases: leasesKey,
		snapshotters: snapshottersKey,
		backends: snapshotterBackends,
		unpacker: unpackerKey,
	},
	config,
	async start({ config, log }, { system, content, blobs, images, leases, snapshotters, backends, unpacker }) {
		const storage = new StoredImages({
			content,
			blobs,
			images,
			leases,
			snapshotter: (name) => ({
				snapshots: snapshotters.named(name),
				rebase: backends.get(name)?.capabilities.includes("rebase") ?? false,
			}),
		});
		const actors = new ImageActors({ storage, unpacker, downloads: config.max_concurrent_downloads });
		await system.root.start(actors.spec);
		actors.attach(system);
		return new ImagePuller({
			actors,
			hostDirectories: config.config_path,
			stallMs: config.image_pull_progress_timeout_ms,
			onProblem: (error) => log.warn({ error }, "registry configuration was set aside"),
		});
	},
});
