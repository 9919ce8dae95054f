import { entryOf, type Labels } from "../labels.ts";
import { namespaceNames } from "../namespaces.ts";
import type { Reader } from "../store/store.ts";
import { images, ingests, leases } from "../tables.ts";

/** On a lease or an image: collect it after this time (RFC 3339). On content or a snapshot: keep it until then. */
export const expireLabel = "containerd.io/gc.expire";

/** Nanoseconds since 1970; undefined without the label, or for an unreadable time: the object then does not expire. */
export function expiryOf(labels: Labels): bigint | undefined {
	const time = Date.parse(entryOf(labels, expireLabel) ?? "");
	return Number.isNaN(time) ? undefined : BigInt(time) * 1_000_000n;
}

export const isExpired = (labels: Labels, now: bigint): boolean => {
	const expiry = expiryOf(labels);
	return expiry !== undefined && expiry < now;
};

/** Whether a collection would find something only because time has passed. */
export const hasExpired = (reader: Reader, now: bigint): boolean =>
	namespaceNames(reader).some(
		(namespace) =>
			[...leases.list(reader, namespace), ...images.list(reader, namespace)].some(([, { labels }]) =>
				isExpired(labels, now),
			) || ingests.list(reader, namespace).some(([, { expiresAt }]) => expiresAt !== undefined && expiresAt < now),
	);
