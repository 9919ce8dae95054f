import { createHash, type Hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { LayerWriter } from "../diff/apply/layer-writer.ts";
import { TarReader } from "../diff/tar/tar-reader.ts";
import { DaemonError, type ObjectIdentity } from "../errors/daemon-error.ts";
import type { ErrorCode } from "../errors/error-code.ts";
import type { Kernel } from "../sys/kernel.ts";
import { SysError } from "../sys/sys-error.ts";
import { type ByteSource, openSource } from "./byte-source.ts";
import { compressionOf, magicSize } from "./compression.ts";
import { GunzipFilter } from "./gunzip-filter.ts";
import { JobMonitor, type JobSignals } from "./job-signals.ts";
import type { Unpacked, UnpackRequest } from "./unpacker.ts";

/** A request as it crosses to the worker. */
export interface UnpackJob {
	readonly request: UnpackRequest;
	readonly signals: JobSignals;
	/** The gunzip program, or undefined for Node's zlib. */
	readonly gunzip: string | undefined;
}

const chunkSize = 1 << 20;
/** Some chunks ahead: with the default the inflater stands still while this thread writes files. */
const inflateOptions = { chunkSize, highWaterMark: 4 * chunkSize };

/** Extracts one layer. Runs on a worker's thread, which it blocks. Throws DaemonErrors. */
export async function unpackLayer(kernel: Kernel, umaskIsZero: boolean, job: UnpackJob): Promise<Unpacked> {
	const { request } = job;
	const id = "blobPath" in request.source ? request.source.blobPath : request.source.growing.path;
	const monitor = new JobMonitor(job.signals, id);
	monitor.check();
	const source = openSource(request.source, () => monitor.check());
	try {
		const writer = new LayerWriter(kernel, request.targetDir, {
			whiteouts: request.whiteouts ?? "overlay",
			umaskIsZero,
			skipDevices: inUserNamespace(),
		});
		const object = { kind: "layer", id };
		try {
			return await extract(kernel, job, source, writer, monitor, object);
		} catch (reason) {
			throw layerError(reason, object, writer.entryName);
		} finally {
			writer.close();
		}
	} finally {
		source.close();
	}
}

async function extract(
	kernel: Kernel,
	{ request, gunzip }: UnpackJob,
	source: ByteSource,
	writer: LayerWriter,
	monitor: JobMonitor,
	object: ObjectIdentity,
): Promise<Unpacked> {
	const reader = new TarReader(writer);
	const tarHash = createHash("sha256");
	const blobHash = request.expectedBlobDigest === undefined ? undefined : createHash("sha256");
	let size = 0;
	await decompress(kernel, gunzip, digesting(source, blobHash), blobHash !== undefined, monitor, (chunk) => {
		monitor.check();
		tarHash.update(chunk);
		reader.push(chunk);
		size += chunk.length;
		monitor.report(size, writer.entries);
	});
	reader.end();
	const summary = writer.end(request.sync === true);
	const diffId = verified(object, "diff ID", tarHash, request.expectedDiffId);
	if (blobHash !== undefined) verified(object, "digest", blobHash, request.expectedBlobDigest);
	return { diffId, size, ...summary };
}

function verified(object: ObjectIdentity, what: string, hash: Hash, expected: string | undefined): string {
	const digest = `sha256:${hash.digest("hex")}`;
	if (expected !== undefined && expected !== digest)
		throw new DaemonError("DataLoss", object, `${what} is ${digest}, expected ${expected}`);
	return digest;
}

/** The same source; what is read through it is digested. */
function digesting(source: ByteSource, hash: Hash | undefined): ByteSource {
	if (hash === undefined) return source;
	return {
		path: source.path,
		wholeFile: source.wholeFile,
		close: () => source.close(),
		read: (buffer, waitMs) => {
			const count = source.read(buffer, waitMs);
			if (count !== undefined && count > 0) hash.update(buffer.subarray(0, count));
			return count;
		},
	};
}

/** Puts the first bytes back in front of a source. */
function unread(source: ByteSource, start: Uint8Array): ByteSource {
	let rest = start;
	return {
		path: source.path,
		wholeFile: source.wholeFile,
		close: () => source.close(),
		read: (buffer, waitMs) => {
			if (rest.length === 0) return source.read(buffer, waitMs);
			const count = Math.min(rest.length, buffer.length);
			buffer.set(rest.subarray(0, count));
			rest = rest.subarray(count);
			return count;
		},
	};
}

async function decompress(
	kernel: Kernel,
	gunzip: string | undefined,
	source: ByteSource,
	digested: boolean,
	monitor: JobMonitor,
	push: (chunk: Uint8Array) => void,
): Promise<void> {
	const first = Buffer.alloc(magicSize);
	let have = 0;
	while (have < first.length) {
		const count = source.read(first.subarray(have)) ?? 0;
		if (count === 0) break;
		have += count;
	}
	const start = first.subarray(0, have);
	const compression = compressionOf(start);
	const whole = unread(source, start);
	switch (compression) {
		case "none":
			return copy((buffer) => whole.read(buffer) ?? 0, push);
		case "gzip":
			if (gunzip === undefined) return throughZlib(createGunzip(inflateOptions), whole, monitor, push);
			return throughFilter(kernel, gunzip, whole, digested, monitor, push);
		case "zstd":
			return throughZlib(createZstdDecompress(inflateOptions), whole, monitor, push);
		default:
			throw new DaemonError("Unimplemented", { kind: "layer", id: source.path }, `compressed with ${compression}`);
	}
}

function copy(read: (buffer: Uint8Array) => number, push: (chunk: Uint8Array) => void): void {
	const buffer = Buffer.allocUnsafe(chunkSize);
	for (let count = read(buffer); count > 0; count = read(buffer)) push(buffer.subarray(0, count));
}

async function throughFilter(
	kernel: Kernel,
	program: string,
	source: ByteSource,
	digested: boolean,
	monitor: JobMonitor,
	push: (chunk: Uint8Array) => void,
): Promise<void> {
	const filter = new GunzipFilter(kernel, program, source, digested);
	try {
		copy((buffer) => filter.read(buffer, () => monitor.check()), push);
		await filter.finish();
	} finally {
		await filter.close();
	}
}

/** Inflates on libuv's thread pool, beside this thread. */
async function throughZlib(
	inflate: ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>,
	source: ByteSource,
	monitor: JobMonitor,
	push: (chunk: Uint8Array) => void,
): Promise<void> {
	async function* input(): AsyncGenerator<Uint8Array> {
		for (;;) {
			monitor.check();
			const buffer = Buffer.allocUnsafe(1 << 18);
			const count = source.read(buffer, 5);
			if (count === 0) return;
			// Nothing new yet: what the inflater has done meanwhile is taken first.
			if (count === undefined) await new Promise((resolve) => setImmediate(resolve));
			else yield buffer.subarray(0, count);
		}
	}
	await pipeline(Readable.from(input(), { objectMode: false }), inflate, async (chunks) => {
		for await (const chunk of chunks as AsyncIterable<Uint8Array>) push(chunk);
	});
}

/** Whether ids are mapped: in the initial user namespace one line maps all of them to themselves. */
const inUserNamespace = (): boolean => !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync("/proc/self/uid_map", "utf8"));

/** What errnos of the extraction mean: mostly that the archive asks for the impossible. */
const codes: Readonly<Record<string, ErrorCode>> = {
	ENOSPC: "ResourceExhausted",
	EDQUOT: "ResourceExhausted",
	EMFILE: "ResourceExhausted",
	ENFILE: "ResourceExhausted",
	ENAMETOOLONG: "InvalidArgument",
	ENOTDIR: "InvalidArgument",
	ENOENT: "InvalidArgument",
	EISDIR: "InvalidArgument",
	EINVAL: "InvalidArgument",
	ELOOP: "InvalidArgument",
	EPERM: "PermissionDenied",
	EACCES: "PermissionDenied",
};

function layerError(reason: unknown, object: ObjectIdentity, entry: string): DaemonError {
	if (reason instanceof DaemonError)
		return new DaemonError(reason.code, object, reason.problem, { cause: reason.cause });
	if (reason instanceof SysError)
		return new DaemonError(
			codes[reason.code] ?? "Internal",
			object,
			`entry ${JSON.stringify(entry)}: ${reason.message}`,
		);
	const code = (reason as NodeJS.ErrnoException).code ?? "";
	if (/^(Z_|ZSTD_)/.test(code)) return DaemonError.from(reason, object, "DataLoss");
	return DaemonError.from(reason, object);
}
