import type { Descriptor } from "../../content/descriptor.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { SpecsDefinition } from "../../gen/troupe/v1/specs.ts";
import { generateSpec } from "../../oci/generate-spec.ts";
import { parseUserDatabase, type UserDatabase } from "../../oci/user-database.ts";
import type { Mount } from "../../sys/mounts.ts";
import { layerDirectories } from "../layer-directories.ts";
import { type Service, service } from "../rpc.ts";
import { imageForSpec } from "./image-for-spec.ts";
import { type MergedLayers, readMergedFile } from "./merged-layers.ts";
import { specOptions } from "./spec-options.ts";

/** What specs are made from. Everything is looked up in the caller's namespace. */
export interface SpecSources {
	/** What an image's name stands for. NotFound. */
	target(namespace: string, image: string): Descriptor;
	/** NotFound; ResourceExhausted above `limit` bytes. */
	readBlob(namespace: string, digest: string, limit: number): Promise<Uint8Array>;
	/** Where the caller named none. */
	defaultSnapshotter(namespace: string): string;
	/** Mounts that show a committed snapshot. NotFound; InvalidArgument for an unknown snapshotter. */
	mountsOf(namespace: string, snapshotter: string, name: string): Promise<readonly Mount[]>;
	/** Whether the host has the unified cgroup hierarchy only. */
	readonly cgroupNamespace: boolean;
	readonly kernel: MergedLayers["kernel"];
}

/** Bytes of /etc/passwd or /etc/group at most. */
const databaseLimit = 4 << 20;
/** User databases kept: a chain ID stands for the same files for ever. */
const databasesKept = 32;

const specTypeUrl = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/** troupe.v1.Specs: the runtime spec that `ctr run` would write for an image, without a mount on the client's side. */
export const specService = (sources: SpecSources): Service => {
	const databases = new Map<string, Promise<UserDatabase>>();

	const databaseOf = (namespace: string, snapshotter: string, chainId: string, image: string) => {
		const key = `${namespace}/${snapshotter}/${chainId}`;
		const known = databases.get(key);
		if (known !== undefined) return known;
		const read = readDatabase(sources, namespace, snapshotter, chainId, image);
		databases.set(key, read);
		read.catch(() => databases.delete(key));
		for (const oldest of databases.keys()) {
			if (databases.size <= databasesKept) break;
			databases.delete(oldest);
		}
		return read;
	};

	return service(SpecsDefinition, {
		async generate(request, { namespace }) {
			const { image } = request;
			const readBlob = (digest: string, limit: number) => sources.readBlob(namespace, digest, limit);
			const { config, chainId } = await imageForSpec(image, sources.target(namespace, image), readBlob);
			const snapshotter = request.snapshotter === "" ? sources.defaultSnapshotter(namespace) : request.snapshotter;
			const database = chainId === "" ? noUsers : await databaseOf(namespace, snapshotter, chainId, image);
			const spec = generateSpec(config, specOptions(request, namespace, sources.cgroupNamespace), database);
			return {
				spec: { typeUrl: specTypeUrl, value: Buffer.from(JSON.stringify(spec)) },
				parent: chainId,
				snapshotter,
				stopSignal: config.stopSignal,
			};
		},
	});
};

const noUsers: UserDatabase = { users: [], groups: [] };

async function readDatabase(
	sources: SpecSources,
	namespace: string,
	snapshotter: string,
	chainId: string,
	image: string,
): Promise<UserDatabase> {
	const object = { kind: "image", namespace, id: image };
	const mounts = await sources.mountsOf(namespace, snapshotter, chainId).catch((reason) => {
		if (reason instanceof DaemonError && reason.code === "NotFound")
			throw new DaemonError("FailedPrecondition", object, `is not unpacked on snapshotter "${snapshotter}"`, {
				cause: reason,
			});
		throw reason;
	});
	const merged: MergedLayers = { layers: layerDirectories(mounts), object, kernel: sources.kernel };
	const text = async (path: string): Promise<string | undefined> => {
		const bytes = await readMergedFile(merged, path, databaseLimit);
		return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
	};
	return parseUserDatabase(await text("/etc/passwd"), await text("/etc/group"));
}
