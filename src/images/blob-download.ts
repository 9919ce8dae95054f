import type { Readable } from "node:stream";
import type { Clock } from "../../actors/kernel/clock.ts";
import type { Descriptor } from "../content/descriptor.ts";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import type { RegistryClient } from "./registry-client.ts";

/** Where the bytes go: an open ingest. */
export interface BlobSink {
	/** Bytes that are there already. */
	readonly offset: number;
	write(chunks: readonly Uint8Array[]): Promise<void>;
}

export interface DownloadOptions {
	readonly signal: AbortSignal;
	readonly clock: Clock;
	/** No byte for this long is a broken download, in milliseconds. */
	readonly stallMs: number;
	/** Hosts that sent wrong bytes before. One that sends more than was announced is added. */
	readonly avoid?: Set<string>;
	/** Called with the sink's offset after each write, at most once per MiB or so. */
	readonly onBytes?: (offset: number) => void;
}

/** Written at once: few calls, and the disk sees large pieces. */
const batchBytes = 1 << 20;

/**
 * Brings what a sink lacks of a blob, by one request. Answers the host that sent it. The bytes are not verified: that is
 * the commit's business. Errors, after which the sink holds what had arrived: those of {@link RegistryClient.open};
 * DataLoss (too few or too many bytes); DeadlineExceeded (stalled); Canceled; what the sink threw.
 */
export async function downloadBlob(
	client: RegistryClient,
	descriptor: Descriptor,
	sink: BlobSink,
	options: DownloadOptions,
): Promise<string> {
	const object: ObjectIdentity = { kind: "blob", id: descriptor.digest };
	const { body, start, host } = await client.open(descriptor, sink.offset, options.signal, options.avoid);
	try {
		await drain(body, sink, sink.offset - start, descriptor.size, object, host, options);
	} finally {
		body.destroy();
	}
	return host;
}

function drain(
	body: Readable,
	sink: BlobSink,
	skip: number,
	size: number,
	object: ObjectIdentity,
	host: string,
	{ signal, clock, stallMs, avoid, onBytes }: DownloadOptions,
): Promise<void> {
	return new Promise((resolve, reject) => {
		let toSkip = skip;
		let taken = sink.offset;
		let pending: Uint8Array[] = [];
		let pendingBytes = 0;
		let writing = false;
		/** Set once nothing more will come: undefined for a good end. */
		let end: { readonly failure: unknown } | undefined;
		let lastByte = clock.monotonic();

		const fail = (code: "DataLoss" | "DeadlineExceeded", problem: string): void =>
			finish(new DaemonError(code, object, `${host} ${problem}`));
		const finish = (failure: unknown): void => {
			if (end !== undefined) return;
			end = { failure };
			cancelTimer();
			signal.removeEventListener("abort", onAbort);
			body.destroy();
			if (!writing) void flush();
		};
		const onAbort = (): void => finish(DaemonError.from(signal.reason, object, "Canceled"));

		/** What has arrived is written even after a failure: the next request goes on behind it. */
		const flush = async (): Promise<void> => {
			writing = true;
			try {
				while (pending.length > 0 && (pendingBytes >= batchBytes || end !== undefined)) {
					const batch = pending;
					pending = [];
					pendingBytes = 0;
					if (body.isPaused() && end === undefined) body.resume();
					await sink.write(batch);
					lastByte = clock.monotonic();
					onBytes?.(sink.offset);
				}
			} catch (reason) {
				pending = [];
				end = { failure: reason };
				cancelTimer();
				signal.removeEventListener("abort", onAbort);
				body.destroy();
			}
			writing = false;
			if (end === undefined) return;
			if (end.failure === undefined) resolve();
			else reject(end.failure);
		};

		let cancelTimer = (): void => undefined;
		const watch = (ms: number): void => {
			cancelTimer = clock.after(ms, () => {
				const silent = clock.monotonic() - lastByte;
				if (body.isPaused()) watch(stallMs);
				else if (silent < stallMs) watch(stallMs - silent);
				else fail("DeadlineExceeded", `sent nothing for ${stallMs} ms, at ${taken} of ${size} bytes`);
			});
		};

		body.on("data", (chunk: Buffer) => {
			if (end !== undefined) return;
			lastByte = clock.monotonic();
			const part = toSkip === 0 ? chunk : chunk.subarray(Math.min(toSkip, chunk.length));
			toSkip -= chunk.length - part.length;
			if (part.length === 0) return;
			taken += part.length;
			if (taken > size) {
				avoid?.add(host);
				return fail("DataLoss", `sends more than the ${size} bytes that were announced`);
			}
			pending.push(part);
			pendingBytes += part.length;
			if (pendingBytes < batchBytes) return;
			if (writing) body.pause();
			else void flush();
		});
		body.on("end", () => {
			if (taken === size) finish(undefined);
			else fail("DataLoss", `ended after ${taken} of ${size} bytes`);
		});
		body.on("error", (reason) => {
			if (signal.aborted) onAbort();
			else fail("DataLoss", `broke off after ${taken} of ${size} bytes: ${reason.message}`);
		});
		signal.addEventListener("abort", onAbort, { once: true });
		if (signal.aborted) onAbort();
		else watch(stallMs);
	});
}
