import { constants } from "node:os";

/** What a terminal or a supervisor may send us, and the container should have. */
const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
/** So many SIGINT or SIGTERM mean: now, whatever the container thinks of it. */
const patience = 3;

/** Passes signals on to the container until the returned function is called. The third SIGINT or SIGTERM kills it. */
export function forwardSignals(kill: (signal: number) => void): () => void {
	let asked = 0;
	const listener = (name: NodeJS.Signals): void => {
		if (name === "SIGINT" || name === "SIGTERM") asked++;
		kill(asked >= patience ? constants.signals.SIGKILL : constants.signals[name]);
	};
	for (const name of forwarded) process.on(name, listener);
	return () => {
		for (const name of forwarded) process.off(name, listener);
	};
}
