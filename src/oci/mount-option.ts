import { isAbsolute } from "node:path";
import { DaemonError } from "../errors/daemon-error.ts";
import type { Mount } from "./runtime-spec.ts";

/**
 * Reads ctr's mount syntax: `type=bind,src=/tmp,dst=/host,options=rbind:ro`. The type defaults to bind, a bind mount's
 * options to `rbind`. The long spellings `source`, `destination` and `target` are taken too, and `ro` alone (docker's).
 *
 * @throws InvalidArgument, naming the text, for an unknown key or a missing or relative path.
 */
export function parseMount(text: string): Mount {
	const invalid = (problem: string): DaemonError =>
		new DaemonError("InvalidArgument", { kind: "mount", id: text }, problem);
	let type = "bind";
	let source: string | undefined;
	let destination: string | undefined;
	const options: string[] = [];
	for (const part of text.split(",")) {
		const [key = "", ...rest] = part.split("=");
		const value = rest.join("=");
		switch (key) {
			case "type":
				type = value;
				break;
			case "source":
			case "src":
				source = value;
				break;
			case "destination":
			case "target":
			case "dst":
				destination = value;
				break;
			case "options":
				options.push(...value.split(":").filter((option) => option !== ""));
				break;
			case "ro":
			case "readonly":
				options.push("ro");
				break;
			default:
				throw invalid(`unknown key "${key}"; use type, src, dst, options`);
		}
	}
	if (destination === undefined || !isAbsolute(destination)) throw invalid("dst must be an absolute path");
	if (type === "bind") {
		if (source === undefined || !isAbsolute(source)) throw invalid("src must be an absolute path for type=bind");
		if (!options.includes("bind") && !options.includes("rbind")) options.unshift("rbind");
	}
	return { destination, type, source: source ?? type, options };
}
