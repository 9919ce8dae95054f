/** What a handler knows of the call that carries its request. The same for gRPC and ttrpc. */
import { DaemonError } from "../errors/daemon-error.ts";
import { identifier } from "../metadata/identifier.ts";

/** gRPC header that names the namespace; ttrpc uses {@link ttrpcNamespaceHeader}. Go clients send both. */
export const namespaceHeader = "containerd-namespace";
export const ttrpcNamespaceHeader = "containerd-namespace-ttrpc";
/** Header that names the lease under which new objects are made. */
export const leaseHeader = "containerd-lease";

/** Headers of a call: lower-case names; only the first value of each counts (containerd: namespaces/grpc.go). */
export type CallMetadata = ReadonlyMap<string, string>;

export interface CallOptions {
	readonly metadata: CallMetadata;
	/** Aborted when the caller gives up, the deadline passes or the connection breaks. */
	readonly signal: AbortSignal;
	/** Milliseconds since 1970; undefined: none. */
	readonly deadline?: number | undefined;
}

export class Call {
	readonly metadata: CallMetadata;
	readonly signal: AbortSignal;
	readonly deadline: number | undefined;

	constructor({ metadata, signal, deadline }: CallOptions) {
		this.metadata = metadata;
		this.signal = signal;
		this.deadline = deadline;
	}

	/** The namespace of the call. FailedPrecondition when the header is missing, InvalidArgument when it is no identifier. */
	get namespace(): string {
		const name = this.metadata.get(namespaceHeader) || this.metadata.get(ttrpcNamespaceHeader);
		if (name === undefined || name === "")
			throw new DaemonError("FailedPrecondition", { kind: "header", id: namespaceHeader }, "namespace is required");
		return identifier("namespace", name);
	}

	/** The lease under which the call works; that it exists is checked by whoever adds something to it. */
	get lease(): string | undefined {
		return this.metadata.get(leaseHeader) || undefined;
	}

	/** Milliseconds until the deadline, at least 1; `fallback` where the caller set none. */
	remainingMs(fallback: number, now = Date.now()): number {
		return this.deadline === undefined ? fallback : Math.max(1, this.deadline - now);
	}
}
