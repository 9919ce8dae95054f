const names: Readonly<Record<number, string>> = {
	10: "TRACE",
	20: "DEBUG",
	30: "INFO ",
	40: "WARN ",
	50: "ERROR",
	60: "FATAL",
};
const colours: Readonly<Record<number, number>> = { 10: 90, 20: 36, 30: 32, 40: 33, 50: 31, 60: 41 };

/** One of pino's JSON lines as a line for people: `12:03:44.120 INFO  message  field=value`. Anything else passes as it is. */
export function readableLine(line: string): string {
	let fields: Record<string, unknown>;
	try {
		fields = JSON.parse(line);
	} catch {
		return line;
	}
	const { level, time, msg, error, ...rest } = fields;
	const number = typeof level === "number" ? level : 30;
	const clock = typeof time === "string" ? time.slice(11, 23) : "";
	const pairs = Object.entries(rest).map(([name, value]) => `\u001b[90m${name}=\u001b[0m${text(value)}`);
	const head = `\u001b[90m${clock}\u001b[0m \u001b[${colours[number] ?? 0}m${names[number] ?? number}\u001b[0m ${text(msg ?? "")}`;
	return `${[head, ...pairs].join("  ")}${stackOf(error)}\n`;
}

const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

function stackOf(error: unknown): string {
	if (error === undefined) return "";
	if (typeof error !== "object" || error === null) return `\n    ${text(error)}`;
	const { stack, message } = error as { stack?: unknown; message?: unknown };
	return `\n    ${text(stack ?? message ?? error).replaceAll("\n", "\n    ")}`;
}
