/**
 * containerd's filter language (pkg/filters): `name==x,labels."a.b"~=^y` - selectors joined by commas (all must match); a
 * list of filters matches if one does. A selector is a field path alone (the field is set), or a path, one of `==`, `!=`,
 * `~=` (regular expression, anywhere in the value) and a value, which may be quoted; behind `~=` also by `/` or `|`.
 */
import { DaemonError } from "../errors/daemon-error.ts";

/** The value of a field, undefined if the object does not have it: `fieldOf(["labels", "a.b"])`. */
export type FieldOf = (path: readonly string[]) => string | undefined;

/** Whether an object is wanted. */
export type Filter = (fieldOf: FieldOf) => boolean;

/** The filter for a list of texts; no texts, or an empty one, match everything. InvalidArgument if one cannot be read. */
export function parseFilters(texts: readonly string[]): Filter {
	const filters = texts.map(parseFilter);
	return filters.length === 0 ? () => true : (fieldOf) => filters.some((filter) => filter(fieldOf));
}

/** A value as the field path of a map names it: `labels."containerd.io/gc.root"`, and also `labels.a.b` for the key `a.b`. */
export const mapField = (map: Readonly<Record<string, string>>, path: readonly string[]): string | undefined => {
	const key = path.join(".");
	return Object.hasOwn(map, key) ? map[key] : undefined;
};

/** An empty text is a field that is not set. */
export const textField = (text: string): string | undefined => (text === "" ? undefined : text);

function parseFilter(text: string): Filter {
	if (text === "") return () => true;
	const reader = new FilterReader(text);
	const selectors = [selector(reader)];
	while (!reader.atEnd()) {
		reader.expect(",");
		selectors.push(selector(reader));
	}
	return (fieldOf) => selectors.every((selects) => selects(fieldOf));
}

function selector(reader: FilterReader): Filter {
	const path = [reader.field()];
	while (reader.take(".")) path.push(reader.field());
	const operator = reader.operator();
	if (operator === undefined) return (fieldOf) => fieldOf(path) !== undefined;
	const value = reader.value(operator === "~=");
	switch (operator) {
		case "==":
			return (fieldOf) => fieldOf(path) === value;
		case "!=":
			return (fieldOf) => (fieldOf(path) ?? "") !== value;
		case "~=": {
			const expression = reader.expression(value);
			return (fieldOf) => expression.test(fieldOf(path) ?? "");
		}
	}
}

const operators = ["==", "!=", "~="] as const;

class FilterReader {
	readonly #text: string;
	#at = 0;

	constructor(text: string) {
		this.#text = text;
	}

	atEnd(): boolean {
		this.#skipSpace();
		return this.#at === this.#text.length;
	}

	take(literal: string): boolean {
		this.#skipSpace();
		if (!this.#text.startsWith(literal, this.#at)) return false;
		this.#at += literal.length;
		return true;
	}

	expect(literal: string): void {
		if (!this.take(literal)) throw this.#problem(`expected "${literal}"`);
	}

	field(): string {
		this.#skipSpace();
		if (this.#text[this.#at] === '"') return this.#quoted();
		return this.#match(/[\p{L}\p{N}_]+/uy, "expected a field name");
	}

	operator(): (typeof operators)[number] | undefined {
		const found = operators.find((operator) => this.take(operator));
		if (found === undefined && "=!~".includes(this.#text[this.#at] ?? " "))
			throw this.#problem("expected ==, != or ~=");
		return found;
	}

	value(isExpression: boolean): string {
		this.#skipSpace();
		const quote = this.#text[this.#at];
		if (quote === '"') return this.#quoted();
		if (quote === "/" || quote === "|") {
			if (!isExpression) throw this.#problem(`only a regular expression may be quoted by ${quote}`);
			return this.#between(quote);
		}
		return this.#match(/[^\s,]+/uy, "expected a value");
	}

	expression(source: string): RegExp {
		// Go writes flags in front, JavaScript beside.
		const [, flags = "", body = source] = /^\(\?([ims]+)\)(.*)$/s.exec(source) ?? [];
		try {
			return new RegExp(body, `${flags}u`);
		} catch (reason) {
			throw this.#problem(reason instanceof Error ? reason.message : String(reason));
		}
	}

	/** A string in double quotes, with the escapes of Go that JSON knows as well, and `\xNN`. */
	#quoted(): string {
		const raw = this.#match(/"(?:[^"\\]|\\.)*"/uy, "a quote is not closed");
		try {
			return JSON.parse(raw.replaceAll(/\\x([0-9a-fA-F]{2})/g, "\\u00$1")) as string;
		} catch {
			throw this.#problem(`${raw} is no quoted string`);
		}
	}

	/** Between two `/` or `|`: as it is, but a backslash takes the quote into the value. */
	#between(quote: string): string {
		let value = "";
		for (let at = this.#at + 1; at < this.#text.length; at += 1) {
			const letter = this.#text[at] ?? "";
			if (letter === "\\" && this.#text[at + 1] === quote) {
				value += quote;
				at += 1;
			} else if (letter === quote) {
				this.#at = at + 1;
				return value;
			} else value += letter;
		}
		throw this.#problem("a quote is not closed");
	}

	#match(pattern: RegExp, problem: string): string {
		pattern.lastIndex = this.#at;
		const found = pattern.exec(this.#text)?.[0];
		if (found === undefined) throw this.#problem(problem);
		this.#at += found.length;
		return found;
	}

	#skipSpace(): void {
		while (/\s/u.test(this.#text[this.#at] ?? "x")) this.#at += 1;
	}

	#problem(problem: string): DaemonError {
		return new DaemonError("InvalidArgument", { kind: "filter", id: this.#text }, `${problem} at ${this.#at}`);
	}
}
