/** The shim's own log: one JSON line per event on stderr, which its starter has turned to a file. */
export type Log = (level: "debug" | "info" | "warning" | "error", message: string, fields?: object) => void;

export const logTo =
	(write: (line: string) => void, context: object, debug: boolean): Log =>
	(level, message, fields = {}) => {
		if (level === "debug" && !debug) return;
		write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...context, ...fields })}\n`);
	};

export const reasonOf = (reason: unknown): string => (reason instanceof Error ? reason.message : String(reason));
