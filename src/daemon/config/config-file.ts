import { parse, TomlError, type TomlTable } from "smol-toml";
import * as z from "zod";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { Plugin } from "../../plugin/plugin.ts";
import { type FileSettings, fileSettings, streamUri } from "./file-settings.ts";
import { type KeyPath, KeyPositions, type Position } from "./key-positions.ts";

/** One file of the configuration, checked by itself, so that what is wrong is told with file and line. */
export interface ConfigFile {
	readonly file: string;
	readonly settings: FileSettings;
	/** Sections of plugins as they are written, by URI; `[stream]` among them. */
	readonly sections: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
	/** An error about a key of this file. */
	refuse(path: KeyPath, problem: string): DaemonError;
}

/**
 * Reads a file's text. Without plugins their sections and names are not checked: for who needs an address only. Errors:
 * InvalidArgument, with file, line, column and what is allowed, for a syntax error, and for every key or value that cannot
 * be meant.
 */
export function parseConfigFile(text: string, file: string, plugins: readonly Plugin[] | undefined): ConfigFile {
	const table = tableOf(text, file);
	const report = new Report(text, file);
	const settings = report.check(fileSettings, table, []);
	const sections = new Map(Object.entries(settings?.plugins ?? {}));
	if (settings?.stream !== undefined) {
		if (sections.has(streamUri)) report.add(["stream"], `is the same section as ${keyText(["plugins", streamUri])}`);
		sections.set(streamUri, settings.stream);
	}
	if (settings !== undefined && plugins !== undefined) {
		checkNames(settings, plugins, report);
		for (const [uri, section] of sections) {
			const path = uri === streamUri && settings.stream !== undefined ? ["stream"] : ["plugins", uri];
			checkSection(uri, section, path, plugins, report);
		}
	}
	report.end();
	if (settings === undefined) throw new Error("unreachable: the report has thrown");
	return {
		file,
		settings,
		sections,
		refuse: (path, problem) => new Report(text, file).add(path, problem).error(),
	};
}

function tableOf(text: string, file: string): TomlTable {
	try {
		return parse(text);
	} catch (reason) {
		if (!(reason instanceof TomlError)) throw DaemonError.from(reason, identity(file), "InvalidArgument");
		const [what = ""] = reason.message.split("\n");
		throw new DaemonError("InvalidArgument", identity(file), `${placeText(reason)}: ${what}`, { cause: reason });
	}
}

/** Names of plugins that do not exist would be a wish that nobody hears. */
function checkNames(settings: FileSettings, plugins: readonly Plugin[], report: Report): void {
	const known = plugins.map(({ key }) => key.uri);
	for (const list of ["required_plugins", "disabled_plugins"] as const)
		for (const [index, uri] of (settings[list] ?? []).entries())
			if (!known.includes(uri)) report.add([list, index], `there is no plugin "${uri}"; there are ${listed(known)}`);
}

function checkSection(uri: string, section: unknown, path: KeyPath, plugins: readonly Plugin[], report: Report): void {
	const plugin = plugins.find(({ key }) => key.uri === uri);
	if (plugin === undefined) {
		const configurable = plugins.filter(({ config }) => config !== undefined).map(({ key }) => key.uri);
		report.add(path, `there is no such plugin; sections are ${listed(configurable)}`);
	} else report.check(plugin.config ?? noSettings, section, path);
}

const noSettings = z.strictObject({});

/** Everything wrong with one file, in the order of its lines. */
class Report {
	readonly #positions: KeyPositions;
	readonly #file: string;
	readonly #problems: { readonly position: Position | undefined; readonly text: string }[] = [];

	constructor(text: string, file: string) {
		this.#positions = new KeyPositions(text);
		this.#file = file;
	}

	add(path: KeyPath, problem: string): this {
		this.#problems.push({ position: this.#positions.of(path), text: `${keyText(path)}: ${problem}` });
		return this;
	}

	/** The value as the schema understands it; undefined if it does not. `at` is where the value stands in the file. */
	check<T>(schema: z.ZodType<T>, value: unknown, at: KeyPath): T | undefined {
		const result = schema.safeParse(value);
		if (result.success) return result.data;
		for (const issue of result.error.issues) {
			const path = [...at, ...issue.path];
			if (issue.code !== "unrecognized_keys") this.add(path, issue.message);
			else
				for (const key of issue.keys)
					this.add([...path, key], `unknown key; ${allowedText(keysAt(schema, issue.path))}`);
		}
		return undefined;
	}

	/** Throws if there is anything. */
	end(): void {
		if (this.#problems.length > 0) throw this.error();
	}

	error(): DaemonError {
		const order = ({ position: { line, column } = nowhere }: { position: Position | undefined }): number =>
			line * 1e6 + column;
		const texts = this.#problems
			.toSorted((a, b) => order(a) - order(b))
			.map(({ position, text }) => (position === undefined ? text : `${placeText(position)}: ${text}`));
		return new DaemonError("InvalidArgument", identity(this.#file), texts.join("; "));
	}
}

const nowhere: Position = { line: 0, column: 0 };
const identity = (file: string) => ({ kind: "configuration", id: file });
const placeText = ({ line, column }: Position): string => `line ${line}, column ${column}`;
const listed = (names: readonly string[]): string => names.toSorted().join(", ");
const allowedText = (keys: readonly string[]): string =>
	keys.length === 0 ? "nothing can be set here" : `allowed are ${keys.join(", ")}`;

/** As it would be written before an equals sign. */
const keyText = (path: KeyPath): string =>
	path
		.map((part) => {
			const text = String(part);
			return /^[A-Za-z0-9_-]+$/.test(text) ? text : JSON.stringify(text);
		})
		.join(".");

/** The keys that a schema knows at a path. */
function keysAt(schema: z.core.$ZodType, path: KeyPath): readonly string[] {
	let inner: z.core.$ZodType = schema;
	while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault)
		inner = inner.unwrap();
	const [first, ...rest] = path;
	if (inner instanceof z.ZodArray) return keysAt(inner.element, rest);
	if (inner instanceof z.ZodRecord && first !== undefined) return keysAt(inner.valueType, rest);
	if (!(inner instanceof z.ZodObject)) return [];
	if (first === undefined) return Object.keys(inner.shape);
	const below: z.core.$ZodType | undefined = inner.shape[String(first)];
	return below === undefined ? [] : keysAt(below, rest);
}
