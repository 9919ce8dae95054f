/** What a process gets if its image sets no environment at all. */
export const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * `defaults` with each `NAME=value` of `overrides` replacing the line of that name, or appended; an override without
 * `=` removes the name. The order of the defaults stays.
 */
export function mergeEnvironment(defaults: readonly string[], overrides: readonly string[]): string[] {
	const lines = new Map(defaults.map((line) => [nameOf(line), line]));
	for (const line of overrides) {
		if (line.includes("=")) lines.set(nameOf(line), line);
		else lines.delete(line);
	}
	return [...lines.values()];
}

const nameOf = (line: string): string => {
	const end = line.indexOf("=");
	return end < 0 ? line : line.slice(0, end);
};
