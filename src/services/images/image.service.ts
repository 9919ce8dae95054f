import { ImagesDefinition, type Image as WireImage } from "../../gen/containerd/services/images/v1/images.ts";
import type { Descriptor } from "../../gen/containerd/types/descriptor.ts";
import type { GarbageCollector } from "../../metadata/gc/garbage-collector.ts";
import type { Image, ImageDraft, ImageStore } from "../../metadata/images.ts";
import { type Service, service } from "../rpc.ts";
import { count, fromTimestamp, required, toTimestamp } from "../wire.ts";

/** containerd.services.images.v1.Images: names and what they stand for. */
export const imageService = (images: ImageStore, gc: Pick<GarbageCollector, "runOnce">): Service =>
	service(ImagesDefinition, {
		get: async ({ name }, { namespace }) => ({ image: toWire(images.get(namespace, name)) }),
		list: async ({ filters }, { namespace }) => ({ images: images.list(namespace, filters).map(toWire) }),
		async create({ image, sourceDateEpoch }, call) {
			const epoch = sourceDateEpoch && fromTimestamp(sourceDateEpoch);
			return { image: toWire(await images.create(call, fromWire(image), { epoch })) };
		},
		async update({ image, updateMask, sourceDateEpoch }, call) {
			const epoch = sourceDateEpoch && fromTimestamp(sourceDateEpoch);
			return { image: toWire(await images.update(call, fromWire(image), updateMask, { epoch })) };
		},
		async delete({ name, sync, target }, call) {
			await images.delete(call, name, target?.digest);
			if (sync) await gc.runOnce(call.signal); // "sync": the caller waits until the space is free
			return {};
		},
	});

function fromWire(image: WireImage | undefined): ImageDraft {
	const { name, labels, target } = required(image, "image", "image");
	const { mediaType, digest, size, annotations } = target ?? noTarget;
	return { name, labels, target: { mediaType, digest, size: count(size, "image", "target.size"), annotations } };
}

/** The store says what is missing. */
const noTarget: Descriptor = { mediaType: "", digest: "", size: 0n, annotations: {} };

const toWire = ({ name, labels, target, createdAt, updatedAt }: Image): WireImage => ({
	name,
	labels: { ...labels },
	target: { ...target, size: BigInt(target.size), annotations: { ...target.annotations } },
	createdAt: toTimestamp(createdAt),
	updatedAt: toTimestamp(updatedAt),
});
