import { parseDigest } from "../../content/digest.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import { ContentDefinition } from "../../gen/containerd/services/content/v1/content.ts";
import type { NamespacedContent } from "../../metadata/content.ts";
import { type Service, service } from "../rpc.ts";
import { count, required } from "../wire.ts";
import { toWireBlob, toWireStatus } from "./content-wire.ts";
import { writeSession } from "./write-session.ts";

/** Blobs in one message of List. */
const batch = 100;

/** containerd.services.content.v1.Content: the blobs that a namespace has, and its ingests. */
export const contentService = (content: NamespacedContent): Service =>
	service(ContentDefinition, {
		info: async ({ digest }, { namespace }) => ({ info: toWireBlob(content.info(namespace, checked(digest))) }),

		async update({ info, updateMask }, { namespace }) {
			const { digest, labels } = required(info, "content", "info");
			return { info: toWireBlob(await content.update(namespace, checked(digest), labels, updateMask)) };
		},

		async *list({ filters }, { namespace }) {
			const blobs = content.list(namespace, filters);
			for (let from = 0; from < blobs.length; from += batch)
				yield { info: blobs.slice(from, from + batch).map(toWireBlob) };
		},

		async delete({ digest }, call) {
			await content.delete(call, checked(digest));
			return {};
		},

		/** A size of 0, or one that goes beyond the blob's end, means "the rest"; a negative offset is 0. */
		async *read({ digest, offset, size }, { namespace }) {
			const blob = content.info(namespace, checked(digest));
			const from = offset > 0n ? offset : 0n;
			if (from > BigInt(blob.size))
				throw new DaemonError(
					"OutOfRange",
					{ kind: "content", namespace, id: digest },
					`read past object length ${blob.size} bytes`,
				);
			let at = from;
			const range = { offset: Number(from), ...(size > 0n ? { length: count(size, "content", "size") } : {}) };
			for await (const data of content.read(namespace, digest, range)) {
				yield { offset: at, data };
				at += BigInt(data.length);
			}
		},

		async status({ ref }, { namespace }) {
			return { status: toWireStatus(await content.status(namespace, ref)) };
		},

		async listStatuses({ filters }, { namespace }) {
			return { statuses: (await content.statuses(namespace, filters)).map(toWireStatus) };
		},

		write: (requests, { namespace, lease, signal }) => writeSession(content, { namespace, lease, signal }, requests),

		async abort({ ref }, call) {
			await content.abort(call, ref);
			return {};
		},
	});

/** InvalidArgument for what is no digest. */
function checked(digest: string): string {
	parseDigest(digest);
	return digest;
}
