import { DaemonError } from "../../errors/daemon-error.ts";
import { DiffDefinition } from "../../gen/containerd/services/diff/v1/diff.ts";
import { extractionTarget } from "../../snapshots/extraction-target.ts";
import type { Mount } from "../../sys/mounts.ts";
import type { Trees } from "../../workers/tree-pool.ts";
import type { Unpacker } from "../../workers/unpacker.ts";
import { layerDirectories } from "../layer-directories.ts";
import { notThereYet, type Service, service } from "../rpc.ts";
import { required } from "../wire.ts";

/** Where the bytes of a blob are that a namespace can see. */
export interface BlobFiles {
	/** NotFound if the namespace does not have the blob. */
	blobPath(namespace: string, digest: string): Promise<string>;
}

const uncompressedLayer = "application/vnd.oci.image.layer.v1.tar";

/**
 * containerd.services.diff.v1.Diff. Apply extracts in a worker thread and tells what it found: the uncompressed tar's digest
 * (the diff ID) and size.
 */
export const diffService = (blobs: BlobFiles, unpacker: Unpacker, trees: Pick<Trees, "inherit">): Service =>
	service(DiffDefinition, {
		async apply({ diff, mounts, syncFs }, call) {
			const { digest, mediaType } = required(diff, "diff", "diff");
			const { targetDir, whiteouts } = targetOf(mounts);
			const blobPath = await blobs.blobPath(call.namespace, digest);
			const { diffId, size, impliedDirectories } = await unpacker.unpack(
				{ source: { blobPath }, mediaType, targetDir, whiteouts, sync: syncFs },
				{ signal: call.signal },
			);
			// A directory that the layer does not list looks as in the layers below.
			const lowers = layerDirectories(mounts).filter((directory) => directory !== targetDir);
			if (impliedDirectories.length > 0 && lowers.length > 0)
				await trees.inherit(targetDir, lowers, impliedDirectories);
			const applied = { mediaType: uncompressedLayer, digest: diffId, size: BigInt(size), annotations: {} };
			return { applied };
		},
		diff: notThereYet("making a layer from two snapshots is not there yet"),
	});

/** Unimplemented for mounts that hide where their files are, InvalidArgument for read-only ones. */
function targetOf(mounts: readonly Mount[]) {
	const identity = { kind: "mounts", id: mounts.map(({ type }) => type).join("+") };
	if (mounts.length === 0) throw new DaemonError("InvalidArgument", identity, "there is nothing to apply the diff to");
	const target = extractionTarget(mounts);
	if (target === undefined)
		throw new DaemonError("Unimplemented", identity, "a diff can be applied to one overlay or bind mount only");
	if (!target.targetDir.startsWith("/"))
		throw new DaemonError("InvalidArgument", identity, `"${target.targetDir}" is not an absolute path`);
	return target;
}
