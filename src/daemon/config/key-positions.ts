/** Where a key stands in its file; both count from 1. */
export interface Position {
	readonly line: number;
	readonly column: number;
}

/** Names of tables and keys from the top, and indices of arrays. */
export type KeyPath = readonly PropertyKey[];

/**
 * Where each key of a TOML text stands: in headers, dotted, quoted, in inline tables, and the elements of arrays. The parser
 * tells positions of syntax errors only, so the text is read a second time; it must be valid.
 */
export class KeyPositions {
	readonly #text: string;
	readonly #offsets = new Map<string, number>();
	/** Tables so far of each `[[array of tables]]`. */
	readonly #lengths = new Map<string, number>();
	#at = 0;

	constructor(text: string) {
		this.#text = text;
		let table: KeyPath = [];
		for (this.#skip(blank); this.#at < text.length; this.#skip(blank)) {
			if (this.#peek() === "[") table = this.#header();
			else this.#pair(table);
		}
	}

	/** Of the key, or of the innermost table around it that is written down; undefined if there is none. */
	of(path: KeyPath): Position | undefined {
		for (let length = path.length; length > 0; length--) {
			const offset = this.#offsets.get(idOf(path.slice(0, length)));
			if (offset === undefined) continue;
			const before = this.#text.slice(0, offset).split("\n");
			return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
		}
		return undefined;
	}

	#header(): KeyPath {
		const isArray = this.#text.startsWith("[[", this.#at);
		this.#at += isArray ? 2 : 1;
		const names: { readonly name: string; readonly offset: number }[] = [];
		this.#key((name, offset) => names.push({ name, offset }));
		this.#at += isArray ? 2 : 1;
		let table: KeyPath = [];
		for (const [index, { name, offset }] of names.entries()) {
			table = [...table, name];
			this.#note(table, offset);
			const id = idOf(table);
			if (isArray && index === names.length - 1) this.#lengths.set(id, (this.#lengths.get(id) ?? 0) + 1);
			table = this.#lastOf(table);
			this.#note(table, offset);
		}
		return table;
	}

	/** A table below an array of tables belongs to the array's last one. */
	#lastOf(table: KeyPath): KeyPath {
		const length = this.#lengths.get(idOf(table));
		return length === undefined ? table : [...table, length - 1];
	}

	#pair(table: KeyPath): void {
		let path = table;
		this.#key((name, offset) => {
			path = [...path, name];
			this.#note(path, offset);
		});
		this.#at++; // =
		this.#skip(space);
		this.#value(path);
	}

	/** Tells each part of a dotted key. */
	#key(tell: (name: string, offset: number) => void): void {
		for (;;) {
			this.#skip(space);
			const offset = this.#at;
			tell(this.#name(), offset);
			this.#skip(space);
			if (this.#peek() !== ".") return;
			this.#at++;
		}
	}

	#name(): string {
		const word = this.#peek() === '"' || this.#peek() === "'" ? this.#string() : this.#skip(bare);
		if (word.startsWith('"')) return unescaped(word.slice(1, -1));
		return word.startsWith("'") ? word.slice(1, -1) : word;
	}

	#value(path: KeyPath): void {
		switch (this.#peek()) {
			case '"':
			case "'":
				this.#string();
				return;
			case "[":
				this.#list("]", (index) => {
					const element = [...path, index];
					this.#note(element, this.#at);
					this.#value(element);
				});
				return;
			case "{":
				this.#list("}", () => this.#pair(path));
				return;
			default:
				this.#skip(scalar);
		}
	}

	#list(end: "]" | "}", read: (index: number) => void): void {
		this.#at++;
		for (let index = 0; ; index++) {
			this.#skip(blankOrComma);
			if (this.#peek() === end || this.#at >= this.#text.length) break;
			read(index);
		}
		this.#at++;
	}

	#string(): string {
		const quote = this.#peek();
		return this.#skip(this.#text.startsWith(quote.repeat(3), this.#at) ? longStrings[quote] : strings[quote]);
	}

	#note(path: KeyPath, offset: number): void {
		const id = idOf(path);
		if (!this.#offsets.has(id)) this.#offsets.set(id, offset);
	}

	#peek(): string {
		return this.#text.charAt(this.#at);
	}

	/** Steps over what the (sticky) expression matches. */
	#skip(expression: RegExp | undefined): string {
		if (expression === undefined) return "";
		expression.lastIndex = this.#at;
		const [found = ""] = expression.exec(this.#text) ?? [];
		this.#at += found.length;
		return found;
	}
}

const space = /[ \t]*/y;
const blank = /(?:[ \t\r\n\uFEFF]|#[^\n]*)*/y;
const blankOrComma = /(?:[ \t\r\n,]|#[^\n]*)*/y;
const bare = /[A-Za-z0-9_-]+/y;
const scalar = /[^,\]}#\n]+/y;
const strings: Readonly<Record<string, RegExp>> = { '"': /"(?:[^"\\]|\\.)*"/y, "'": /'[^']*'/y };
/** Up to two quotes may stand before the three that end one. */
const longStrings: Readonly<Record<string, RegExp>> = {
	'"': /"""(?:[^\\]|\\.)*?"{3,5}(?!")/sy,
	"'": /'''.*?'{3,5}(?!')/sy,
};

const idOf = (path: KeyPath): string => JSON.stringify(path.map(String));

const short: Readonly<Record<string, string>> = { b: "\b", t: "\t", n: "\n", f: "\f", r: "\r", e: "\u001b" };
const unescaped = (text: string): string =>
	text.replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/g, (_, x, u, U, other: string) => {
		const code: string | undefined = x ?? u ?? U;
		return code === undefined ? (short[other] ?? other) : String.fromCodePoint(Number.parseInt(code, 16));
	});
