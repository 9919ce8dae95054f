import type { TaskCall, Tasks } from "../../../actors/task-manager/tasks.ts";
import { DaemonError } from "../../errors/daemon-error.ts";
import type { Metric } from "../../gen/containerd/types/metrics.ts";
import { parseFilters, textField } from "../../metadata/filter.ts";
import { toAny, toTimestamp } from "../wire.ts";

/** How many cgroups are read at once. */
const parallel = 8;

/**
 * The metrics of a namespace's tasks that match a filter on `id` or `namespace`. A task that has ended meanwhile, or that
 * has no cgroup yet, is left out, as in containerd: one bad task does not hide the others.
 */
export async function taskMetrics(
	tasks: Tasks,
	namespace: string,
	filters: readonly string[],
	call: TaskCall,
): Promise<Metric[]> {
	const matches = parseFilters(filters);
	const wanted = (await tasks.list(namespace, call)).filter(({ id }) =>
		matches(([field]) => (field === "id" ? textField(id) : field === "namespace" ? namespace : undefined)),
	);
	const metrics: Metric[] = [];
	const next = async (): Promise<void> => {
		for (let task = wanted.shift(); task !== undefined; task = wanted.shift()) {
			const data = await tasks.metrics({ namespace, id: task.id }, call).catch((reason) => {
				if (reason instanceof DaemonError && leftOut.has(reason.code)) return undefined;
				throw reason;
			});
			const timestamp = toTimestamp(BigInt(Date.now()) * 1_000_000n);
			if (data !== undefined) metrics.push({ timestamp, id: task.id, data: toAny(data) });
		}
	};
	await Promise.all(Array.from({ length: parallel }, next));
	return metrics.sort((one, other) => (one.id < other.id ? -1 : 1));
}

const leftOut = new Set<DaemonError["code"]>(["NotFound", "FailedPrecondition", "Unavailable", "Unknown"]);
