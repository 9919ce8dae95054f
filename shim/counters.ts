const unlimited = 0xffff_ffff_ffff_ffffn;

/** A file with one number; `max` is the greatest, nothing is 0. */
export function numberIn(text: string | undefined): bigint {
	const word = text?.trim() ?? "";
	if (word === "max") return unlimited;
	return /^\d+$/.test(word) ? BigInt(word) : 0n;
}

/** A flat keyed file: `key value` per line. Missing keys are 0. */
export function keyedCounters(text: string | undefined): (key: string) => bigint {
	const values = new Map<string, bigint>();
	for (const line of (text ?? "").split("\n")) {
		const [key, value] = line.split(" ");
		if (key !== undefined && value !== undefined) values.set(key, numberIn(value));
	}
	return (key) => values.get(key) ?? 0n;
}

/** Nested keyed lines: `8:0 rbytes=1 wbytes=2`. */
export function nestedCounters(
	text: string | undefined,
): readonly (readonly [key: string, of: (name: string) => bigint])[] {
	return (text ?? "")
		.split("\n")
		.filter((line) => line.includes("="))
		.map((line) => {
			const [key = "", ...pairs] = line.split(" ");
			const values = new Map(pairs.map((pair) => pair.split("=") as [string, string]));
			return [key, (name: string) => numberIn(values.get(name))] as const;
		});
}

/** Huge page sizes that the group counts, by the names of its files: `hugetlb.2MB.<suffix>`. */
export const hugePageSizes = (files: readonly string[], suffix: string): readonly string[] =>
	files.flatMap((file) => {
		const size = /^hugetlb\.([^.]+)\.(.*)$/.exec(file);
		return size?.[2] === suffix && size[1] !== undefined ? [size[1]] : [];
	});
