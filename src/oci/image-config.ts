import { DaemonError } from "../errors/daemon-error.ts";

/**
 * The part of an image's configuration that decides how its containers run
 * (https://github.com/opencontainers/image-spec/blob/main/config.md, "config").
 */
export interface ImageConfig {
	readonly user: string;
	/** `NAME=value` lines. */
	readonly env: readonly string[];
	readonly entrypoint: readonly string[];
	readonly cmd: readonly string[];
	readonly workingDir: string;
	/** A signal's name or number; empty for SIGTERM. */
	readonly stopSignal: string;
	readonly labels: Readonly<Record<string, string>>;
	/** Diff IDs of the layers, lowest first. */
	readonly diffIds: readonly string[];
}

/** Reads an image's config blob. InvalidArgument, naming the image, if it is not one. */
export function parseImageConfig(blob: Uint8Array, image: string): ImageConfig {
	const invalid = (problem: string): DaemonError =>
		new DaemonError("InvalidArgument", { kind: "image", id: image }, `its config ${problem}`);
	let document: unknown;
	try {
		document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(blob));
	} catch {
		throw invalid("is not JSON");
	}
	if (!isRecord(document)) throw invalid("is not an object");
	const config = document.config ?? {};
	const rootfs = document.rootfs ?? {};
	if (!isRecord(config) || !isRecord(rootfs)) throw invalid("has a member of the wrong type");
	const text = (name: string): string => {
		const value = config[name] ?? "";
		if (typeof value !== "string") throw invalid(`has a ${name} that is not a string`);
		return value;
	};
	const list = (holder: Record<string, unknown>, name: string): string[] => {
		const value = holder[name] ?? [];
		if (!Array.isArray(value) || !value.every((item) => typeof item === "string"))
			throw invalid(`has a ${name} that is not a list of strings`);
		return value;
	};
	const labels = config.Labels ?? {};
	if (!isRecord(labels)) throw invalid("has Labels that are not an object");
	return {
		user: text("User"),
		env: list(config, "Env"),
		entrypoint: list(config, "Entrypoint"),
		cmd: list(config, "Cmd"),
		workingDir: text("WorkingDir"),
		stopSignal: text("StopSignal"),
		labels: Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)])),
		diffIds: list(rootfs, "diff_ids"),
	};
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
	typeof value === "object" && value !== null && !Array.isArray(value);
