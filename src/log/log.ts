/** The daemon's log: JSON lines on stderr, or one readable line each where stderr is a terminal. */
import { type Logger, pino } from "pino";
import { readableLine } from "./readable-line.ts";

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal"] as const;
export type LogLevel = (typeof logLevels)[number];

/** containerd's names are taken too: `warning` for warn, `panic` for fatal. Undefined for a name that is no level. */
export function logLevel(name: string): LogLevel | undefined {
	const word = name.toLowerCase();
	if (word === "warning") return "warn";
	if (word === "panic") return "fatal";
	return logLevels.find((level) => level === word);
}

/** One way to log: fields first, then a sentence. */
export type LogLine = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/** What the rest of the daemon sees of the log. A child adds its fields to every line. */
export interface Log extends Readonly<Record<LogLevel, LogLine>> {
	child(fields: Readonly<Record<string, unknown>>): Log;
}

export interface OpenLog extends Log {
	/** Writes what is still buffered, synchronously: for the last words of a process. */
	flush(): void;
}

export interface LogOptions {
	readonly level: LogLevel;
	/** File descriptor; default 2, stderr. */
	readonly descriptor?: number;
	/** Readable lines instead of JSON. */
	readonly readable?: boolean;
}

/** Opens the log. Lines are written asynchronously: a reader that is slow does not stop the event loop. */
export function openLog({ level, descriptor = 2, readable = false }: LogOptions): OpenLog {
	const destination = pino.destination({ dest: descriptor, sync: false });
	// A reader that went away (EPIPE) must not end the daemon: the lines are lost, containers are not.
	destination.on("error", () => {});
	const stream = readable ? { write: (line: string) => void destination.write(readableLine(line)) } : destination;
	const logger = pino({ level, base: null, errorKey: "error", timestamp: pino.stdTimeFunctions.isoTime }, stream);
	return Object.assign(detached(logger), {
		flush: () => {
			try {
				destination.flushSync();
			} catch {
				// Nothing is left to which this could be said: stderr itself is gone, or was never opened.
			}
		},
	});
}

/** pino's methods need their `this`; a LogLine may be handed on by itself. */
const detached = (logger: Logger): Log => ({
	trace: logger.trace.bind(logger),
	debug: logger.debug.bind(logger),
	info: logger.info.bind(logger),
	warn: logger.warn.bind(logger),
	error: logger.error.bind(logger),
	fatal: logger.fatal.bind(logger),
	child: (fields) => detached(logger.child(fields)),
});

const nothing: LogLine = () => {};

/** A log that keeps nothing, for tests and for tools that print their own results. */
export const silentLog: Log = {
	trace: nothing,
	debug: nothing,
	info: nothing,
	warn: nothing,
	error: nothing,
	fatal: nothing,
	child: () => silentLog,
};
