/** What `JSON.rawJSON` makes: a number kept as it was written. */
type Reviver = (key: string, value: unknown, context: { readonly source?: string }) => unknown;

/**
 * JSON whose numbers come out as they went in. OCI specs have 64-bit ones (an rlimit of 18446744073709551615), which a
 * double would change and the runtime then refuse.
 */
export function parseExactly(text: string): unknown {
	const { rawJSON } = JSON as unknown as { rawJSON(source: string): unknown };
	const reviver: Reviver = (_, value, { source }) =>
		typeof value === "number" && !Number.isSafeInteger(value) && source !== undefined ? rawJSON(source) : value;
	return JSON.parse(text, reviver as Parameters<typeof JSON.parse>[1]);
}
