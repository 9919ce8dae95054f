import { plugin } from "../../plugin/plugin.ts";
import { pluginKey } from "../../plugin/plugin-key.ts";
import { containersKey, tasksKey } from "../plugin-keys.ts";
import type { Service } from "../rpc.ts";
import { taskService } from "./task.service.ts";

export const tasksPlugin = plugin({
	key: pluginKey<Service>("io.containerd.grpc.v1.tasks"),
	needs: { tasks: tasksKey, containers: containersKey },
	start: (_context, { tasks, containers }) => taskService(tasks, containers),
});
