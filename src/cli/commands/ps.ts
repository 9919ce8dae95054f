import { ContainersDefinition } from "../../gen/containerd/services/containers/v1/containers.ts";
import { TasksDefinition } from "../../gen/containerd/services/tasks/v1/tasks.ts";
import { withDaemon } from "../daemon-connection.ts";
import { age, milliseconds } from "../human.ts";
import { print, table } from "../table.ts";
import type { Target } from "../target.ts";
import { statusText } from "../task-status.ts";

/** `troupe ps`: every container of the namespace with the state of its task. */
export async function ps(target: Target, { quiet = false }: { readonly quiet?: boolean }): Promise<void> {
	const [{ containers }, { tasks }] = await withDaemon(target, (daemon) =>
		Promise.all([daemon.service(ContainersDefinition).list({}), daemon.service(TasksDefinition).list({})]),
	);
	const byId = new Map(tasks.map((task) => [task.id, task]));
	const now = Date.now();
	const rows = containers.map(({ id, image, runtime, createdAt }) => {
		const task = byId.get(id);
		const created = milliseconds(createdAt);
		return {
			id,
			image,
			status: statusText(task),
			pid: task?.pid ?? 0,
			runtime: runtime?.name ?? "",
			created: created === undefined ? null : new Date(created).toISOString(),
			age: created === undefined ? "" : age(now - created),
		};
	});
	print(target.output, rows, () =>
		quiet
			? rows.map(({ id }) => id).join("\n")
			: table(
					["CONTAINER", "IMAGE", "STATUS", "PID", "AGE"],
					rows.map(({ id, image, status, pid, age }) => [id, image, status, pid === 0 ? "" : String(pid), age]),
				),
	);
}
