import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nativeKernel } from "../../sys/native-kernel.ts";
import { failedWith } from "../../sys/sys-error.ts";
import { TarReader } from "../tar/tar-reader.ts";
import { type TestEntry, tarOf } from "../tar/tar-writer.test-fixture.ts";
import { type LayerSummary, LayerWriter, type WriterOptions } from "./layer-writer.ts";

/** Owners, devices and trusted attributes need root. */
export const needsRoot =
	process.getuid?.() === 0 ? {} : { skip: "SKIPPED: needs root (owners, devices, trusted.* attributes)" };

/** A directory of the test's own, gone at its end. On a real file system: tmpfs lacks some attributes. */
export function scratch(test: { after(action: () => void): void }): string {
	const path = fs.mkdtempSync(join(tmpdir(), "troupe-layer-"));
	test.after(() => fs.rmSync(path, { recursive: true, force: true }));
	return path;
}

/** Extracts an archive on this thread. */
export function extract(archive: Uint8Array, root: string, options: WriterOptions = {}): LayerSummary {
	fs.mkdirSync(root, { recursive: true });
	const before = fs.readdirSync("/proc/self/fd").length;
	const summary = extractWith(new LayerWriter(nativeKernel, root, options), archive);
	const left = fs.readdirSync("/proc/self/fd").length - before;
	if (left > 0) throw new Error(`${left} descriptors are left open`);
	return summary;
}

function extractWith(writer: LayerWriter, archive: Uint8Array): LayerSummary {
	try {
		const reader = new TarReader(writer);
		reader.push(archive);
		reader.end();
		return writer.end(false);
	} finally {
		writer.close();
	}
}

export const extractEntries = (entries: readonly TestEntry[], root: string, options?: WriterOptions): LayerSummary =>
	extract(tarOf(entries), root, options);

export function attribute(path: string, name: string): Buffer | undefined {
	const value = Buffer.alloc(65536);
	try {
		return value.subarray(0, nativeKernel.lgetxattr(path, name, value, value.length));
	} catch (reason) {
		if (failedWith(reason, "ENODATA", "ENOTSUP")) return undefined;
		throw reason;
	}
}

function attributes(path: string): string[] {
	const list = Buffer.alloc(65536);
	const size = nativeKernel.llistxattr(path, list, list.length);
	const names = list.toString("utf8", 0, size).split("\0").filter(Boolean).sort();
	return names.map((name) => `${name}=${attribute(path, name)?.toString("hex")}`);
}

/** A line for everything below a directory: all that a layer can say about it. Hard links show by a common name. */
export function listing(root: string, options: { readonly times?: boolean } = {}): string[] {
	const lines: string[] = [];
	const first = new Map<string, string>();
	const visit = (path: string): void => {
		const full = join(root, path);
		const status = fs.lstatSync(full, { bigint: true });
		const key = `${status.dev}:${status.ino}`;
		if (!status.isDirectory() && !first.has(key)) first.set(key, path);
		const content = status.isFile()
			? createHash("sha256").update(fs.readFileSync(full)).digest("hex").slice(0, 16)
			: "";
		const target = status.isSymbolicLink() ? fs.readlinkSync(full) : "";
		const linked = status.nlink > 1n && !status.isDirectory() ? `same as ${first.get(key)}` : "";
		const time = options.times === false ? "" : status.mtimeNs;
		const fields = [path, status.mode.toString(8), status.uid, status.gid, status.rdev, time, content, target, linked];
		lines.push([...fields, ...attributes(full)].join(" | "));
		if (status.isDirectory())
			for (const name of fs.readdirSync(full).sort()) visit(path === "" ? name : `${path}/${name}`);
	};
	for (const name of fs.readdirSync(root).sort()) visit(name);
	return lines;
}
