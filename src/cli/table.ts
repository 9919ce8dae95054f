/** Rows as left-aligned columns, two spaces apart, as ctr and kubectl print them. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
	const all = [head, ...rows];
	const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
	return all.map((row) => `${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd()).join("\n");
}

/** Prints either form: what a person reads, or the same as JSON. */
export function print(output: "table" | "json", value: unknown, readable: () => string): void {
	const text = output === "json" ? JSON.stringify(value, plain, 2) : readable();
	if (text !== "") process.stdout.write(`${text}\n`);
}

const plain = (_name: string, value: unknown): unknown =>
	typeof value === "bigint"
		? Number(value)
		: value instanceof Uint8Array
			? Buffer.from(value).toString("base64")
			: value;
