import type { OpenLog } from "../log/log.ts";

/**
 * An error that nobody expected ends the process: the supervisor (systemd) starts a clean one, containers live on, and
 * nothing goes on with half a state.
 */
export function crashOnUnexpected(log: OpenLog): void {
	const crash = (error: unknown, what: string): void => {
		log.fatal({ error }, what);
		log.flush();
		process.exit(1);
	};
	process.on("uncaughtException", (error) => crash(error, "unexpected error: the daemon ends"));
	process.on("unhandledRejection", (reason) => crash(reason, "unhandled rejection: the daemon ends"));
}
