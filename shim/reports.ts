import {
	TaskCheckpointed,
	TaskCreate,
	TaskDelete,
	TaskExecAdded,
	TaskExecStarted,
	TaskExit,
	TaskOOM,
	TaskPaused,
	TaskResumed,
	TaskStart,
} from "../src/gen/containerd/events/task.ts";
import type { Entry, ReportedFact } from "./exit-journal.ts";
import type { Report } from "./publisher.ts";
import { now, toTimestamp } from "./time.ts";

/** The events of a task: topic, message, and codec. Type URLs are the bare full names (containerd's typeurl). */
const events = {
	TaskCreate: { topic: "/tasks/create", codec: TaskCreate },
	TaskStart: { topic: "/tasks/start", codec: TaskStart },
	TaskDelete: { topic: "/tasks/delete", codec: TaskDelete },
	TaskExit: { topic: "/tasks/exit", codec: TaskExit },
	TaskOOM: { topic: "/tasks/oom", codec: TaskOOM },
	TaskExecAdded: { topic: "/tasks/exec-added", codec: TaskExecAdded },
	TaskExecStarted: { topic: "/tasks/exec-started", codec: TaskExecStarted },
	TaskPaused: { topic: "/tasks/paused", codec: TaskPaused },
	TaskResumed: { topic: "/tasks/resumed", codec: TaskResumed },
	TaskCheckpointed: { topic: "/tasks/checkpointed", codec: TaskCheckpointed },
} as const;

type EventName = keyof typeof events;
type MessageOf<Name extends EventName> = ReturnType<(typeof events)[Name]["codec"]["decode"]>;

export function report<Name extends EventName>(namespace: string, name: Name, message: MessageOf<Name>): Report {
	const { topic, codec } = events[name];
	const value = (codec as { encode(message: unknown): { finish(): Uint8Array } }).encode(message).finish();
	return { namespace, topic, event: { typeUrl: `containerd.events.${name}`, value }, at: now() };
}

/** The report of a journal's entry: the same bytes each time, so that a repetition is recognised. */
export function reportOf({ fact }: Entry<ReportedFact>, acknowledged: () => void): Report {
	if (fact.kind === "oom")
		return {
			...report(fact.namespace, "TaskOOM", { containerId: fact.containerId }),
			at: fact.at,
			acknowledged,
		};
	const { containerId, execId, pid, status, at, unknown } = fact.exit;
	const id = execId === "" ? containerId : execId;
	return {
		...report(fact.namespace, "TaskExit", {
			containerId,
			id,
			pid,
			exitStatus: status,
			exitedAt: toTimestamp(at),
			unknown,
		}),
		at,
		acknowledged,
	};
}
