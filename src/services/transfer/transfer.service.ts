import { DaemonError } from "../../errors/daemon-error.ts";
import { TransferDefinition } from "../../gen/containerd/services/transfer/v1/transfer.ts";
import { ImageStore as WireImageStore } from "../../gen/containerd/types/transfer/imagestore.ts";
import { OCIRegistry } from "../../gen/containerd/types/transfer/registry.ts";
import type { Call } from "../call.ts";
import { type Service, service } from "../rpc.ts";
import { type AnyValue, decodeAny, fromAny, messageName, required } from "../wire.ts";
import { ProgressReport } from "./pull-progress-report.ts";
import { type PullTransferParts, pullTransfer, tag } from "./pull-transfer.ts";

const registry = "containerd.types.transfer.OCIRegistry";
const imageStore = "containerd.types.transfer.ImageStore";

/**
 * containerd.services.transfer.v1.Transfer: one call over any source and destination. Pull (registry to image store) and tag
 * (image store to image store) are there, other pairs are Unimplemented.
 */
export const transferService = (parts: PullTransferParts): Service =>
	service(TransferDefinition, {
		async transfer(request, call) {
			const source = required(fromAny(request.source), "transfer", "source");
			const destination = required(fromAny(request.destination), "transfer", "destination");
			const stream = request.options?.progressStream ?? "";
			const report = new ProgressReport(stream === "" ? undefined : parts.streams.get(call.namespace, stream));
			try {
				await transfer(parts, source, destination, report, call);
			} finally {
				await report.end();
			}
			return {};
		},
	});

async function transfer(
	parts: PullTransferParts,
	source: AnyValue,
	destination: AnyValue,
	report: ProgressReport,
	call: Call,
): Promise<void> {
	const pair = `${messageName(source.typeUrl)} to ${messageName(destination.typeUrl)}`;
	switch (pair) {
		case `${registry} to ${imageStore}`: {
			const from = decodeAny(OCIRegistry, registry, source);
			const to = decodeAny(WireImageStore, imageStore, destination);
			return pullTransfer(parts, from, to, report, call);
		}
		case `${imageStore} to ${imageStore}`: {
			const { target } = parts.images.get(call.namespace, decodeAny(WireImageStore, imageStore, source).name);
			const { name, labels } = decodeAny(WireImageStore, imageStore, destination);
			return tag(parts.images, call, { name, target, labels });
		}
		default:
			throw new DaemonError(
				"Unimplemented",
				{ kind: "transfer", id: pair },
				"only pull (registry to image store) and tag (image store to image store) are there yet",
			);
	}
}
