import { TasksDefinition } from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { withDaemon } from "../daemon-connection.ts";
import { parseSignal } from "../option-values.ts";
import type { Target } from "../target.ts";

/** `troupe kill`: sends a signal to a container's init process, or to all its processes. */
export async function kill(
	target: Target,
	containerId: string,
	options: { readonly signal: string; readonly all?: boolean },
): Promise<void> {
	const signal = parseSignal(options.signal);
	await withDaemon(target, (daemon) =>
		daemon.service(TasksDefinition).kill({ containerId, signal, all: options.all === true }),
	);
}
