/** What a shim is asked: Go's flag syntax (one dash or two), the action last (containerd's runtime/v2/shim/util.go). */
export interface Arguments {
	readonly action: string;
	readonly namespace: string;
	readonly id: string;
	/** The daemon's gRPC socket. */
	readonly address: string;
	readonly bundle: string;
	readonly debug: boolean;
	readonly info: boolean;
	readonly version: boolean;
	/** Own actions: the shard's identity. */
	readonly shard: string;
	readonly group: string;
}

const switches = new Set(["debug", "info", "v", "version"]);

/** Throws Error for a flag without a value. Unknown flags are taken with their values: newer daemons may have more. */
export function parseArguments(words: readonly string[]): Arguments {
	const flags = new Map<string, string>();
	const actions: string[] = [];
	for (let index = 0; index < words.length; index++) {
		const word = words[index] ?? "";
		if (!word.startsWith("-")) {
			actions.push(word);
			continue;
		}
		const [name = "", inline] = split(word.replace(/^--?/, ""));
		if (inline !== undefined) flags.set(name, inline);
		else if (switches.has(name)) flags.set(name, "true");
		else {
			const value = words[++index];
			if (value === undefined) throw new Error(`flag -${name} needs a value`);
			flags.set(name, value);
		}
	}
	const text = (name: string): string => flags.get(name) ?? "";
	const on = (name: string): boolean => flags.get(name) === "true";
	return {
		action: actions[0] ?? "",
		namespace: text("namespace"),
		id: text("id"),
		address: text("address"),
		bundle: text("bundle"),
		debug: on("debug"),
		info: on("info"),
		version: on("v") || on("version"),
		shard: text("shard"),
		group: text("group"),
	};
}

function split(flag: string): readonly [string, string | undefined] {
	const equals = flag.indexOf("=");
	return equals < 0 ? [flag, undefined] : [flag.slice(0, equals), flag.slice(equals + 1)];
}
