import { DaemonError } from "../../errors/daemon-error.ts";
import type { Platform } from "../../gen/containerd/types/platform.ts";
import type { ImageStore as WireImageStore } from "../../gen/containerd/types/transfer/imagestore.ts";
import type { OCIRegistry } from "../../gen/containerd/types/transfer/registry.ts";
import type { ImagePuller, PullRequest } from "../../images/image-puller.ts";
import { formatPlatform } from "../../images/platform.ts";
import type { Image, ImageStore } from "../../metadata/images.ts";
import type { Call } from "../call.ts";
import type { StreamRegistry } from "../streaming/stream-registry.ts";
import type { ProgressReport } from "./pull-progress-report.ts";
import { streamCredentials } from "./stream-credentials.ts";

export interface PullTransferParts {
	readonly puller: Pick<ImagePuller, "pull">;
	readonly images: ImageStore;
	readonly streams: StreamRegistry;
	/** Where the client names no snapshotter for an unpack. */
	readonly defaultSnapshotter: (namespace: string) => string;
}

/** From a registry into the image store: fetches, unpacks where asked, records the name. Errors: those of the puller. */
export async function pullTransfer(
	{ puller, images, streams, defaultSnapshotter }: PullTransferParts,
	source: OCIRegistry,
	destination: WireImageStore,
	report: ProgressReport,
	call: Call,
): Promise<void> {
	const { namespace, signal } = call;
	const { reference } = source;
	refuseWhatIsMissing(source, destination, namespace);
	report.tell({ event: `Resolving from OCI Registry (${reference})` });
	const registry = registryRequest(source, streams, namespace);
	let image: Image | undefined;
	for (const { platform, snapshotter } of wantedOf(destination)) {
		const request: PullRequest = {
			...registry,
			...(platform === undefined ? {} : { platform: formatPlatform(platform) }),
			snapshotter: snapshotter === "" ? defaultSnapshotter(namespace) : (snapshotter ?? ""),
			unpack: snapshotter !== undefined,
		};
		image = await puller.pull(namespace, reference, request, (state) => report.tellPull(reference, state), signal);
	}
	if (image === undefined) return;
	await record(images, call, image, destination);
	const desc = { ...image.target, size: BigInt(image.target.size), annotations: { ...image.target.annotations } };
	report.tell({ event: "saved", name: destination.name, desc });
	report.tell({ event: `Completed pull from OCI Registry (${reference})` });
}

/** What the client has asked for and this daemon would otherwise silently leave out. */
function refuseWhatIsMissing({ resolver }: OCIRegistry, destination: WireImageStore, namespace: string): void {
	const refuse = (problem: string) =>
		new DaemonError("Unimplemented", { kind: "image", namespace, id: destination.name }, problem);
	if (destination.extraReferences.length > 0) throw refuse("more than one name for a pull is not there yet");
	if (Object.keys(resolver?.headers ?? {}).length > 0) throw refuse("own headers for a registry are not there yet");
}

/** Each platform that is wanted, and where it is unpacked; an absent snapshotter fetches only. */
function wantedOf({
	platforms,
	unpacks,
}: WireImageStore): readonly { readonly platform?: Platform | undefined; readonly snapshotter?: string }[] {
	const names = new Set(unpacks.map(({ platform }) => nameOf(platform)));
	const fetched = platforms.filter((platform) => !names.has(nameOf(platform))).map((platform) => ({ platform }));
	const all = [...fetched, ...unpacks];
	return all.length === 0 ? [{}] : all;
}

/** An unpack without a platform is for the host. */
const nameOf = (platform: Platform | undefined): string =>
	platform === undefined || platform.architecture === "" ? "" : formatPlatform(platform);

function registryRequest({ reference, resolver }: OCIRegistry, streams: StreamRegistry, namespace: string) {
	const { authStream = "", hostDir = "", defaultScheme = "" } = resolver ?? {};
	return {
		plainHttp: defaultScheme === "http",
		...(hostDir === "" ? {} : { hostDirectories: [hostDir] }),
		...(authStream === "" ? {} : { credentials: streamCredentials(streams.get(namespace, authStream), reference) }),
	};
}

/** The puller records the reference; the client may want another name, and labels. */
async function record(
	images: ImageStore,
	call: Call,
	{ name: reference, target }: Image,
	{ name, labels }: WireImageStore,
): Promise<void> {
	const wanted = name === "" ? reference : name;
	if (wanted !== reference) {
		await tag(images, call, { name: wanted, target, labels });
		return;
	}
	const paths = Object.keys(labels).map((label) => `labels.${label}`);
	if (paths.length > 0) await images.update(call, { name: wanted, target, labels }, paths);
}

/** Gives an image a name, whether or not it had another meaning before. */
export async function tag(
	images: ImageStore,
	call: Call,
	image: Pick<Image, "name" | "target" | "labels">,
): Promise<void> {
	try {
		await images.create(call, image);
	} catch (reason) {
		if (!(reason instanceof DaemonError) || reason.code !== "AlreadyExists") throw reason;
		await images.update(call, image);
	}
}
