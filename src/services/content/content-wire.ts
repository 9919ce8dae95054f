import type { IngestStatus } from "../../content/content-store.ts";
import type { Info, Status } from "../../gen/containerd/services/content/v1/content.ts";
import type { Timestamp } from "../../gen/google/protobuf/timestamp.ts";
import type { Blob } from "../../metadata/content.ts";
import { toTimestamp } from "../wire.ts";

export const dateToTimestamp = (date: Date): Timestamp => toTimestamp(BigInt(date.getTime()) * 1_000_000n);

export const toWireBlob = ({ digest, size, createdAt, updatedAt, labels }: Blob): Info => ({
	digest,
	size: BigInt(size),
	createdAt: toTimestamp(createdAt),
	updatedAt: toTimestamp(updatedAt),
	labels: { ...labels },
});

export const toWireStatus = ({ ref, offset, total, expected, startedAt, updatedAt }: IngestStatus): Status => ({
	ref,
	offset: BigInt(offset),
	total: BigInt(total),
	expected: expected ?? "",
	startedAt: dateToTimestamp(startedAt),
	updatedAt: dateToTimestamp(updatedAt),
});
